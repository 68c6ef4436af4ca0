import subprocess

t_cache = {}


def execute(command):
    return subprocess.check_output(command)
