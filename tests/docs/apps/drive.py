"""Sends requests to the application in app.py, and tells what came back.

Reads JSON, ``[cookies, [[method, path, form], ...]]``, and writes ``[cookies, [text, ...]]``.
"""

import json
import sys
from http.cookies import SimpleCookie
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # as a server has it

from app import app

cookies, requests = json.load(sys.stdin)
answers = []
for method, path, form in requests:
    pairs = "; ".join(f"{name}={value}" for name, value in cookies.items())
    options = {"POST": form} if method == "POST" else {}
    response = app.get_response(path, headers={"Cookie": pairs}, **options)
    for header in response.headers.getall("Set-Cookie"):
        for name, morsel in SimpleCookie(header).items():
            cookies[name] = morsel.value
    answers.append(response.text if response.status_int == 200 else response.status)
json.dump([cookies, answers], sys.stdout)
