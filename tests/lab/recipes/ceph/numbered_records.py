#!/usr/bin/python3
"""Writes numbered records to a cluster, and reads them back.

    numbered_records.py create PLACE...                 makes what records are written to
    numbered_records.py write LOG EVERY_MS PLACE...     until SIGTERM; EVERY_MS has PIECE:WHOLE:RARE, for images, files and objects, pools
    numbered_records.py read PLACE...                   what is there, as JSON

A place is one of
    rbd:POOL/IMAGE[=DATA_POOL]             an image, through librbd; a record is a piece of it
    fs:NAME                                a file system, through libcephfs; a record is a file
    s3:KEY:SECRET@HOST:PORT,.../BUCKET     a bucket behind gateways that are alike; a record is an object
    rados:POOL                             a pool, through librados; a record is a piece of a lane's object, and each lane a client that writes rarely
    snap:POOL/IMAGE                        an image whose only snapshot comes and goes: no lanes, and a new OSD map each time

A place has lanes, each a run of records; lanes are numbered from 0 through all places. In a lane a record is written only after the one before it was
acknowledged, without any cache of the client's, so what is on disk must be a prefix of what was written. The log has
one line for each acknowledgement:

    ack LANE NUMBER ISSUED_US ACKNOWLEDGED_US
    error LANE NUMBER AT_US TEXT
    end LANE AT_US                                      the lane ended as it was told to

Nothing here judges: that is the reader of the log's.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import signal
import struct
import sys
import threading
import time
import zlib
from email.utils import formatdate

import rados
import rbd

RECORD = 4096
LANE_BYTES = 256 << 20
READ = 4 << 20
MAGIC = b"numbered"
ZEROS = bytes(RECORD)
EMPTY = bytes(READ)
# The pause between two changes of the snapshot: few clouds have fewer changes of the OSD map.
SNAPSHOT_S = 1
# A gateway that does not answer for so long is left for the other one.
GATEWAY_S = 10
# And when none answers for so long, the client says so.
GATEWAYS_S = 120


def record(lane, number):
    head = MAGIC + struct.pack("<QQ", lane, number)
    # The number is in every 16 bytes, so that no mixture of two records passes for one.
    body = struct.pack("<QQ", lane, number) * ((RECORD - 28) // 16)
    text = (head + body).ljust(RECORD - 4, b".")
    return text + struct.pack("<I", zlib.crc32(text))


def sorted_into_ranges(pieces, lane):
    """Of (number, content): the ranges of those that are whole, and of those that are not."""
    whole, torn = [], []
    for number, found in sorted(pieces):
        ranges = whole if found == record(lane, number) else torn
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return whole, torn


class Image:
    """Lanes lie one behind the other in it."""

    lanes = 2
    most = LANE_BYTES // RECORD

    def __init__(self, text):
        name, _, self.data_pool = text.partition("=")
        self.pool, self.image = name.split("/")
        self.name = name

    def ioctx(self):
        cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="writer")
        # An acknowledgement means that the cluster has it.
        cluster.conf_set("rbd_cache", "false")
        cluster.connect(timeout=60)
        self.cluster = cluster
        return cluster.open_ioctx(self.pool)

    def create(self):
        rbd.RBD().create(self.ioctx(), self.image, self.lanes * LANE_BYTES, data_pool=self.data_pool or None)
        self.cluster.shutdown()

    def open(self, read_only=False):
        self.opened = rbd.Image(self.ioctx(), self.image, read_only=read_only)

    def close(self):
        self.opened.close()
        self.cluster.shutdown()

    def write(self, lane, number, content):
        self.opened.write(content, lane * LANE_BYTES + (number - 1) * RECORD)

    def pieces(self, lane):
        for offset in range(0, LANE_BYTES, READ):
            data = self.opened.read(lane * LANE_BYTES + offset, READ)
            if data == EMPTY:
                continue
            for at in range(0, READ, RECORD):
                found = data[at : at + RECORD]
                if found != ZEROS:
                    yield (offset + at) // RECORD + 1, found


class Files:
    """A directory for each lane."""

    lanes = 2
    most = 1 << 30

    def __init__(self, text):
        self.name = "fs:" + text
        self.file_system = text

    def create(self):
        self.open()
        for lane in range(self.lanes):
            self.mount.mkdir(f"/{lane}", 0o755)
        self.close()

    def open(self, read_only=False):
        import cephfs

        self.flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        self.mount = cephfs.LibCephFS(conffile="/etc/ceph/ceph.conf", auth_id="writer")
        self.mount.mount(filesystem_name=self.file_system.encode())

    def close(self):
        self.mount.shutdown()

    def write(self, lane, number, content):
        """Also the file's name is in the journal of the MDS when fsync returns."""
        file = self.mount.open(f"/{lane}/{number}", self.flags, 0o644)
        self.mount.write(file, content, 0)
        self.mount.fsync(file, False)
        self.mount.close(file)

    def pieces(self, lane):
        directory = self.mount.opendir(f"/{lane}")
        names = []
        while entry := self.mount.readdir(directory):
            if entry.d_name.isdigit():
                names.append(int(entry.d_name))
        self.mount.closedir(directory)
        for number in names:
            file = self.mount.open(f"/{lane}/{number}", os.O_RDONLY, 0)
            yield number, self.mount.read(file, 0, RECORD + 1)
            self.mount.close(file)


class Objects:
    """Signed as version 2 of S3's signatures; whichever gateway answers is as good as the others."""

    lanes = 2
    most = 1 << 30

    def __init__(self, text):
        user, _, rest = text.partition("@")
        self.key, self.secret = user.split(":")
        gateways, self.bucket = rest.split("/")
        self.gateways = gateways.split(",")
        self.name = "s3:" + self.bucket
        self.connections = threading.local()
        self.turn = threading.Lock()

    def create(self):
        self.ask("PUT", f"/{self.bucket}")

    def open(self, read_only=False):
        pass

    def close(self):
        pass

    def once(self, gateway, method, path, content):
        held = self.connections.__dict__
        if held.get("gateway") != gateway:
            held["connection"] = http.client.HTTPConnection(gateway, timeout=GATEWAY_S)
            held["gateway"] = gateway
        date = formatdate(usegmt=True)
        text = f"{method}\n\n\n{date}\n{path.partition('?')[0]}".encode()
        signature = base64.b64encode(hmac.new(self.secret.encode(), text, hashlib.sha1).digest()).decode()
        headers = {"Date": date, "Authorization": f"AWS {self.key}:{signature}", "Content-Length": str(len(content))}
        try:
            held["connection"].request(method, path, content, headers)
            answer = held["connection"].getresponse()
            body = answer.read()
        except Exception:
            held["connection"].close()
            raise
        if answer.status >= 500:
            raise OSError(f"{gateway} answers {answer.status}")
        if answer.status >= 300:
            raise ValueError(f"{method} {path}: {answer.status} {body!r}")
        return body

    def ask(self, method, path, content=b""):
        """As a balancer in front of the gateways would: what one does not answer the next one is asked."""
        since = time.monotonic()
        while True:
            for _ in self.gateways:
                asked = self.gateways[0]
                try:
                    return self.once(asked, method, path, content)
                except (OSError, http.client.HTTPException) as error:
                    if time.monotonic() - since > GATEWAYS_S:
                        raise error
                    with self.turn:
                        # The other lane may have left it already.
                        if self.gateways[0] == asked:
                            self.gateways = self.gateways[1:] + self.gateways[:1]
            time.sleep(0.1)

    def write(self, lane, number, content):
        self.ask("PUT", f"/{self.bucket}/{lane}-{number}", content)

    def pieces(self, lane):
        after, names = "", []
        while True:
            page = self.ask("GET", f"/{self.bucket}?prefix={lane}-&marker={after}").decode()
            keys = re.findall("<Key>([^<]*)</Key>", page)
            names += keys
            if "<IsTruncated>true</IsTruncated>" not in page:
                break
            after = keys[-1]
        for name in names:
            yield int(name.partition("-")[2]), self.ask("GET", f"/{self.bucket}/{name}")


class Pool:
    """Each lane has a connection and an object of its own, as guests do that write now and then and always to the same OSDs."""

    lanes = 20
    most = 16384

    def __init__(self, text):
        self.pool = text
        self.name = "rados:" + text

    def create(self):
        pass

    def open(self, read_only=False):
        self.clusters = [rados.Rados(conffile="/etc/ceph/ceph.conf", rados_id="writer") for _ in range(self.lanes)]
        for cluster in self.clusters:
            cluster.connect(timeout=60)
        self.opened = [cluster.open_ioctx(self.pool) for cluster in self.clusters]

    def close(self):
        for cluster in self.clusters:
            cluster.shutdown()

    def write(self, lane, number, content):
        self.opened[lane].write(f"rare-{lane}", content, (number - 1) * RECORD)

    def pieces(self, lane):
        for number in range(1, self.most + 1):
            found = self.opened[lane].read(f"rare-{lane}", RECORD, (number - 1) * RECORD)
            if not found:
                return
            if found != ZEROS:
                yield number, found


class Snapshots(Image):
    """Keeps the OSD map changing: clients that write rarely are behind it most of the time, as in a cloud where others work."""

    lanes = 0

    def create(self):
        rbd.RBD().create(self.ioctx(), self.image, READ)
        self.cluster.shutdown()

    def stir(self, stop):
        while not stop.is_set():
            for change in (self.opened.create_snap, self.opened.remove_snap):
                stop.wait(SNAPSHOT_S)
                try:
                    change("one")
                except rbd.Error as error:
                    # MONs that are restarted may say no; nothing is promised of snapshots here.
                    print(f"{self.name}: {error}", file=sys.stderr)


KINDS = {"rbd": Image, "fs": Files, "s3": Objects, "rados": Pool, "snap": Snapshots}


def places(texts):
    parts = [text.partition(":") for text in texts]
    return [KINDS[kind](rest) for kind, _, rest in parts]


def all_lanes(all_places):
    """Of each: its place, its number there, and its number among all."""
    lanes = [(place, own) for place in all_places for own in range(place.lanes)]
    return [(place, own, lane) for lane, (place, own) in enumerate(lanes)]


def pauses(every_ms):
    """Between two records of a lane, in seconds: for each kind, and whether every pause is another."""
    piece, whole, rare = (int(ms) / 1000 for ms in every_ms.split(":"))
    return {Image: (piece, False), Files: (whole, False), Objects: (whole, False), Pool: (rare, True)}


def create(texts):
    for place in places(texts):
        place.create()


def now_us():
    return time.time_ns() // 1000


def write_lane(place, own, lane, log, pause, stop):
    """Each line is one write(2) of a few bytes to a file opened for appending: lines of two lanes never mix."""
    mean, is_uneven = pause
    due = time.monotonic()
    for number in range(1, place.most + 1):
        if stop.is_set():
            os.write(log, b"end %d %d\n" % (lane, now_us()))
            return
        issued = now_us()
        try:
            place.write(own, number, record(lane, number))
        except Exception as error:
            text = f"error {lane} {number} {now_us()} {error}\n"
            os.write(log, text.encode())
            return
        os.write(log, b"ack %d %d %d %d\n" % (lane, number, issued, now_us()))
        every = mean * random.uniform(0.5, 1.5) if is_uneven else mean
        # What a stall has delayed is not made up for.
        due = max(due + every, time.monotonic() - every)
        stop.wait(max(0.0, due - time.monotonic()))
    os.write(log, b"error %d 0 %d the lane is full\n" % (lane, now_us()))


def write(log_path, every_ms, texts):
    pause = pauses(every_ms)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    all_places = places(texts)
    for place in all_places:
        place.open()
    threads = [
        threading.Thread(target=write_lane, args=(place, own, lane, log, pause[type(place)], stop))
        for place, own, lane in all_lanes(all_places)
    ]
    threads += [threading.Thread(target=place.stir, args=(stop,)) for place in all_places if type(place) is Snapshots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in all_places:
        place.close()


def read(texts):
    lanes = []
    all_places = places(texts)
    for place in all_places:
        place.open(read_only=True)
    for place, own, lane in all_lanes(all_places):
        whole, torn = sorted_into_ranges(place.pieces(own), lane)
        lanes.append({"place": place.name, "lane": lane, "whole": whole, "torn": torn})
    for place in all_places:
        place.close()
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
