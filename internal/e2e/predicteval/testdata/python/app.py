"""Kinds of work for Python; workload/main.go has those of Go."""

import json
import os
import sqlite3
import time
import urllib.request


def fetch(ms):
    with urllib.request.urlopen(f"{os.environ['SERVICE_URL']}?ms={ms}") as response:
        return json.load(response)


def spin(times):
    total = 0
    for i in range(times * 14000):
        total += i * i & 7
    return total


def sqlite():
    db = sqlite3.connect(":memory:")
    db.execute("create table t (id integer primary key, name text, n integer)")
    db.executemany("insert into t values (?, ?, ?)", [(i, f"name {i}", i % 97) for i in range(9000)])
    db.execute("select n, count(*), max(name) from t group by n order by 2 desc").fetchall()


def mix():
    for _ in range(2):
        fetch(25)
        spin(7)


WORK = {"compute": lambda: spin(24), "mix": mix, "sqlite": sqlite}


def handler(event, _context):
    used = time.process_time()
    WORK[event["do"]]()
    return {"cpu_ms": 1000 * used}
