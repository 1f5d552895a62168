#!/usr/bin/python3
"""Writes numbered records to RBD images through librbd, and reads them back.

    numbered_records.py create IMAGE[=DATA_POOL]...     makes the images (POOL/NAME)
    numbered_records.py write LOG EVERY_MS IMAGE...     until SIGTERM
    numbered_records.py read IMAGE...                   what is there, as JSON

An image has LANES lanes, each a run of records from the lane's beginning. In a lane a record is written only after
the one before it was acknowledged, without any cache of the client's, so what is on disk must be a prefix of what was
written. The log has one line for each acknowledgement:

    ack LANE NUMBER ISSUED_US ACKNOWLEDGED_US
    error LANE NUMBER AT_US TEXT
    end LANE AT_US                                      the lane ended as it was told to

Nothing here judges: that is the reader of the log's.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
import zlib

import rados
import rbd

LANES = 2
RECORD = 4096
LANE_BYTES = 256 << 20
READ = 4 << 20
MAGIC = b"numbered"
ZEROS = bytes(RECORD)
EMPTY = bytes(READ)


def record(lane, number):
    head = MAGIC + struct.pack("<QQ", lane, number)
    # The number is in every 16 bytes, so that no mixture of two records passes for one.
    body = struct.pack("<QQ", lane, number) * ((RECORD - 28) // 16)
    text = (head + body).ljust(RECORD - 4, b".")
    return text + struct.pack("<I", zlib.crc32(text))


def connect():
    cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="writer")
    # An acknowledgement means that the cluster has it.
    cluster.conf_set("rbd_cache", "false")
    cluster.connect(timeout=60)
    return cluster


def open_image(cluster, name, **options):
    pool, image = name.split("/")
    return rbd.Image(cluster.open_ioctx(pool), image, **options)


def create(names):
    cluster = connect()
    for name in names:
        name, _, data_pool = name.partition("=")
        pool, image = name.split("/")
        rbd.RBD().create(cluster.open_ioctx(pool), image, LANES * LANE_BYTES, data_pool=data_pool or None)
    cluster.shutdown()


def now_us():
    return time.time_ns() // 1000


def write_lane(image, lane, log, every, stop):
    """Each line is one write(2) of a few bytes to a file opened for appending: lines of two lanes never mix."""
    start = (lane % LANES) * LANE_BYTES
    due = time.monotonic()
    for number in range(1, LANE_BYTES // RECORD + 1):
        if stop.is_set():
            os.write(log, b"end %d %d\n" % (lane, now_us()))
            return
        issued = now_us()
        try:
            image.write(record(lane, number), start + (number - 1) * RECORD)
        except Exception as error:
            text = f"error {lane} {number} {now_us()} {error}\n"
            os.write(log, text.encode())
            return
        os.write(log, b"ack %d %d %d %d\n" % (lane, number, issued, now_us()))
        # What a stall has delayed is not made up for.
        due = max(due + every, time.monotonic() - every)
        stop.wait(max(0.0, due - time.monotonic()))
    os.write(log, b"error %d 0 %d the lane is full\n" % (lane, now_us()))


def write(log_path, every_ms, names):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    cluster = connect()
    images = [open_image(cluster, name) for name in names]
    lanes = [
        threading.Thread(target=write_lane, args=(image, index * LANES + lane, log, int(every_ms) / 1000, stop))
        for index, image in enumerate(images)
        for lane in range(LANES)
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    for image in images:
        image.close()
    cluster.shutdown()


def into_ranges(ranges, number):
    if ranges and ranges[-1][1] == number - 1:
        ranges[-1][1] = number
    else:
        ranges.append([number, number])


def read_lane(image, lane):
    start = (lane % LANES) * LANE_BYTES
    whole, torn = [], []
    for offset in range(0, LANE_BYTES, READ):
        data = image.read(start + offset, READ)
        if data == EMPTY:
            continue
        for at in range(0, READ, RECORD):
            number, found = (offset + at) // RECORD + 1, data[at : at + RECORD]
            if found == ZEROS:
                continue
            into_ranges(whole if found == record(lane, number) else torn, number)
    return {"lane": lane, "whole": whole, "torn": torn}


def read(names):
    cluster = connect()
    lanes = []
    for index, name in enumerate(names):
        image = open_image(cluster, name, read_only=True)
        lanes += [{"image": name, **read_lane(image, index * LANES + lane)} for lane in range(LANES)]
        image.close()
    cluster.shutdown()
    print(json.dumps({"lanes": lanes}))


if __name__ == "__main__":
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "create":
        create(rest)
    elif verb == "write":
        write(rest[0], rest[1], rest[2:])
    elif verb == "read":
        read(rest)
    else:
        sys.exit(__doc__)
