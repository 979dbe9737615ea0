"""Writes an image of twenty layers as `docker load` takes it, with everything that a layer can do to those below it.

    layers.py BUSYBOX ARCHITECTURE NAME:TAG LABEL=VALUE > image.tar

The same bytes from the same arguments. Archives are written by Python's own tarfile, which shares nothing with the
converter's reader. Two things are left out, since Docker 20.10 does not take them: a hard link to a file of a layer below (it
unpacks each layer by itself), and a file that the archive itself says is sparse (it unpacks it, and cannot save the image
any more: "could not verify layer data").
"""

import hashlib
import io
import json
import struct
import sys
import tarfile

EPOCH = 1735689600  # 2025-01-01
# Version 2 of a capability attribute, effective, with CAP_NET_RAW (bit 13): linux/capability.h.
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


# How each folder was last made.
FOLDERS = {}


class Layer:
    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)
        self.names = set()

    def add(self, name, kind, **more):
        # As builders do: a layer names the folders on the way to what it changes, as they are.
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in self.names:
                self.put(folder, tarfile.DIRTYPE, **FOLDERS.setdefault(folder, {"mode": 0o755}))
        if kind == tarfile.DIRTYPE:
            FOLDERS[name] = more
        return self.put(name, kind, **more)

    def put(self, name, kind, data=b"", mode=0o644, uid=0, gid=0, mtime=EPOCH, link="", device=(0, 0), xattrs=None):
        self.names.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.uid, entry.gid, entry.mtime = kind, mode, uid, gid, mtime
        entry.size, entry.linkname, (entry.devmajor, entry.devminor) = len(data), link, device
        for key, value in (xattrs or {}).items():
            entry.pax_headers["SCHILY.xattr." + key] = value.decode("utf-8", "surrogateescape")
        self.tar.addfile(entry, io.BytesIO(data))
        return self

    def folder(self, name, mode=0o755, **more):
        return self.add(name, tarfile.DIRTYPE, mode=mode, **more)

    def file(self, name, data=b"", **more):
        return self.add(name, tarfile.REGTYPE, data=data if isinstance(data, bytes) else data.encode(), **more)

    def symlink(self, name, to, **more):
        return self.add(name, tarfile.SYMTYPE, link=to, mode=0o777, **more)

    def hardlink(self, name, to, mode=0o644):
        # With the file's own mode, as all builders write it: engines give the file what its last name says.
        return self.add(name, tarfile.LNKTYPE, link=to, mode=mode)

    def gone(self, name):
        folder, _, last = name.rpartition("/")
        return self.file(f"{folder}/.wh.{last}" if folder else f".wh.{last}")

    def emptied(self, folder):
        return self.file(f"{folder}/.wh..wh..opq")

    def done(self):
        self.tar.close()
        return self.bytes.getvalue()


def layers(busybox):
    base = Layer().folder("bin").file("bin/busybox", busybox, mode=0o755)
    for applet in ("sh", "cat", "uname", "ls", "true", "id"):
        base.symlink(f"bin/{applet}", "busybox")
    for name in ("dev", "etc", "proc", "sys", "work"):
        base.folder(name)
    base.folder("tmp", mode=0o1777).file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
    base.file("etc/os-release", 'NAME="Twenty"\nID=twenty\nPRETTY_NAME="Twenty layers"\n')
    yield base
    # Deletions: of a file, a link, a folder with what is in it.
    many = Layer()
    for folder in range(10):
        many.folder(f"work/d{folder}")
        for number in range(20):
            many.file(f"work/d{folder}/f{number}", f"{folder} {number}\n" * number, uid=folder, gid=number)
    yield many
    yield Layer().gone("work/d0/f3").gone("work/d0/f4").gone("work/d1")
    yield Layer().folder("work/d1").file("work/d1/again", "again\n")
    # Opaque: before and after what the same layer puts there.
    yield Layer().folder("work/d2", mode=0o700).emptied("work/d2").file("work/d2/only", "only\n")
    yield Layer().folder("work/d3").file("work/d3/mine", "mine\n").emptied("work/d3")
    # Files and folders in each other's place.
    yield Layer().gone("work/d4").file("work/d4", "now a file\n")
    yield Layer().gone("work/d5/f1").folder("work/d5/f1").file("work/d5/f1/inside", "now a folder\n")
    yield Layer().gone("work/d4").symlink("work/d4", "d5").file("work/d5/f2", "replaced\n", mode=0o600)
    # Hard links within a layer, and to names that are then replaced.
    yield Layer().file("work/one", "one\n", mode=0o640).hardlink("work/two", "work/one", mode=0o640).hardlink("work/d6/three", "work/one", mode=0o640)
    yield Layer().file("work/a", "shared\n").hardlink("work/b", "work/a").hardlink("work/c", "work/a")
    yield Layer().gone("work/b").file("work/c", "c alone\n")
    # Links to folders; what a later layer puts below one goes to the folder.
    yield Layer().folder("usr").folder("usr/lib").file("usr/lib/first", "1\n").symlink("lib", "usr/lib")
    yield Layer().symlink("work/absolute", "/usr/lib").symlink("work/dangling", "../no/where").symlink("work/long", "x/" * 100 + "y")
    # Modes and owners.
    yield (
        Layer()
        .file("bin/setuid", "#!/bin/sh\n", mode=0o4755)
        .file("bin/setgid", "#!/bin/sh\n", mode=0o2755, gid=50)
        .file("work/nobody", "n\n", mode=0o000, uid=4000000000, gid=4000000001)
        .folder("work/sticky", mode=0o3777, uid=100000, gid=100001)
    )
    # What is no file. Device numbers beyond eight bits as well.
    yield (
        Layer()
        .folder("nodes")
        .add("nodes/null", tarfile.CHRTYPE, mode=0o666, device=(1, 3))
        .add("nodes/disk", tarfile.BLKTYPE, mode=0o660, gid=6, device=(259, 70000))
        .add("nodes/pipe", tarfile.FIFOTYPE, mode=0o622)
    )
    # Attributes: a capability, and those of users.
    yield (
        Layer()
        .file("bin/ping", busybox[:70000], mode=0o755, xattrs={"security.capability": NET_RAW})
        .file("work/attributes", "x\n", xattrs={"user.text": b"value", "user.lines": b"a\nb=c\n", "user.long": b"v" * 900})
        .folder("work/tagged", xattrs={"user.folder": b"yes"})
    )
    # Names: long, deep, beyond ASCII; times beyond 2038, and with a part of a second.
    deep = Layer()
    path = "deep"
    deep.folder(path)
    for level in range(12):
        path += "/" + f"{level:02}" * 10
        deep.folder(path)
    deep.file(path + "/end", "end\n").file("work/" + "n" * 255, "long\n")
    # Latin-1, which is not UTF-8.
    latin = b"gr\xfcn".decode("utf-8", "surrogateescape")
    deep.file(f"work/{latin}", "green\n").symlink(f"work/{latin}-link", latin).folder(f"work/{latin}-folder")
    deep.file(f"work/{latin}-folder/inside", "in\n")
    deep.file("work/Übung ☃ 日本語", "snow\n").file("work/a\u0301 b\tc", "combined\n")
    deep.file("work/new", "n\n", mtime=5000000000)
    deep.file("work/fraction", "f\n", mtime=EPOCH + 0.5).file("work/empty")
    yield deep
    # Large and mostly nothing; and a file that ends in the middle of a block.
    hole = bytearray(3_000_001)
    hole[1_500_000:1_500_010] = b"0123456789"
    yield Layer().file("work/hole", bytes(hole)).file("work/blocks", b"\xa5" * (4096 * 40 + 7))
    yield Layer().gone("work/d7").gone("work/d8/f0").file("work/d9/f19", "last\n", mtime=EPOCH + 1)


def main():
    busybox, architecture, name, label = sys.argv[1:]
    key, _, value = label.partition("=")
    with open(busybox, "rb") as file:
        blobs = [layer.done() for layer in layers(file.read())]
    assert len(blobs) == 20, len(blobs)
    digests = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2025-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "WorkingDir": "/work", "Labels": {key: value}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest for digest in digests]},
        "history": [{"created": "2025-01-01T00:00:00Z", "created_by": f"layer {n + 1}"} for n in range(20)],
    }
    config = json.dumps(config, sort_keys=True).encode()
    file = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": [d + "/layer.tar" for d in digests]}]
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        parts = [(d + "/layer.tar", blob) for d, blob in zip(digests, blobs)]
        for path, data in [*parts, (file, config), ("manifest.json", json.dumps(manifest).encode())]:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(data), EPOCH
            archive.addfile(entry, io.BytesIO(data))


main()
