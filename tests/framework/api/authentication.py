from wazuh.manager import expose_resources


@expose_resources
def check_user_master(user, password):
    return {"result": password == "right"}
