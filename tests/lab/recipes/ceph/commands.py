#!/usr/bin/python3
"""Gives monitor commands, one JSON document a line on standard input, over one connection, and prints what each
answers as one JSON string a line. Ends at the first that is refused."""

import json
import sys

import rados

cluster = rados.Rados(conffile="/etc/ceph/ceph.conf")
cluster.connect(timeout=60)
for line in sys.stdin:
    code, answer, said = cluster.mon_command(line, b"", timeout=60)
    if code != 0:
        sys.exit(f"{line.strip()}: error {code}: {said}")
    print(json.dumps(answer.decode()), flush=True)
cluster.shutdown()
