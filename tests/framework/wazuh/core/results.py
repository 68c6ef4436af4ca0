class WazuhResult:
    def __init__(self, content):
        self.content = content

    def encode_json(self):
        return {"result": self.content}
