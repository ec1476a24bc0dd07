#!/usr/bin/env python3
"""Store a tree of files: upload.py DIRECTORY CONTAINER-URL PASSWORD-FILE"""

import base64
import http.client
import os
import pathlib
import sys
import urllib.parse

top, url = os.fsencode(sys.argv[1]), urllib.parse.urlsplit(sys.argv[2])
password = pathlib.Path(sys.argv[3]).read_bytes().strip()
login = {"Authorization": "Basic " + base64.b64encode(b"administrator:" + password).decode()}
server = http.client.HTTPConnection(url.netloc)


def put(path, body=b""):
    server.request("PUT", url.path + urllib.parse.quote(path), body, login)
    answer = server.getresponse()
    answer.read()
    print(answer.status, os.fsdecode(path), flush=True)


for folder, _, files in os.walk(top):
    here = os.path.relpath(folder, top) + b"/" if folder != top else b""
    put(here)
    for name in files:
        if os.path.isfile(os.path.join(folder, name)):
            with open(os.path.join(folder, name), "rb") as file:
                put(here + name, file)
