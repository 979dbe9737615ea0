"""Lists what is in an archive or below a folder, one JSON object a line, with Python's own means.

    listing.py tar FILE | listing.py folder DIRECTORY
"""

import hashlib
import json
import os
import stat
import sys
import tarfile

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFIFO: "fifo"}
TYPES = {tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "symlink", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo"}
PREFIX = "SCHILY.xattr."


def raw(text):
    return text.encode("utf-8", "surrogateescape")


def content(reader):
    digest = hashlib.sha256()
    while part := reader.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def of_tar(path):
    rows, same = {}, {}
    with tarfile.open(path, "r|", encoding="utf-8", errors="surrogateescape") as archive:
        for entry in archive:
            name = raw(entry.name).strip(b"/").removeprefix(b"./")
            if name == b".":
                name = b""
            if entry.islnk():
                target = raw(entry.linkname).strip(b"/").removeprefix(b"./")
                rows[name] = dict(rows[target])
                same.setdefault(target, {target}).add(name)
                same[name] = same[target]
                continue
            row = {"kind": TYPES.get(entry.type, "file"), "mode": entry.mode & 0o7777, "uid": entry.uid, "gid": entry.gid}
            row |= {"seconds": int(entry.mtime // 1), "nanos": 0, "what": "", "xattrs": {}}
            if row["kind"] == "file":
                row["what"] = content(archive.extractfile(entry))
            elif row["kind"] == "symlink":
                row["what"] = raw(entry.linkname).hex()
            elif row["kind"] in ("char", "block"):
                row["what"] = f"{entry.devmajor}:{entry.devminor}"
            for key, value in entry.pax_headers.items():
                if key.startswith(PREFIX):
                    row["xattrs"][raw(key[len(PREFIX) :]).hex()] = raw(value).hex()
            rows[name] = row
    return rows, same


def of_folder(top):
    rows, same, inodes = {}, {}, {}

    def visit(path, name):
        about = os.lstat(path)
        kind = KINDS[stat.S_IFMT(about.st_mode)]
        row = {"kind": kind, "mode": stat.S_IMODE(about.st_mode), "uid": about.st_uid, "gid": about.st_gid}
        seconds, nanos = divmod(about.st_mtime_ns, 10**9)
        row |= {"seconds": seconds, "nanos": nanos, "what": ""}
        row["xattrs"] = {
            key.encode().hex(): os.getxattr(path, key, follow_symlinks=False).hex()
            for key in os.listxattr(path, follow_symlinks=False)
        }
        if kind == "file":
            with open(path, "rb") as reader:
                row["what"] = content(reader)
        elif kind == "symlink":
            row["what"] = os.readlink(path).hex()
        elif kind in ("char", "block"):
            row["what"] = f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
        rows[name] = row
        if kind != "folder":
            group = inodes.setdefault(about.st_ino, set())
            group.add(name)
            same[name] = group
        else:
            for child in os.listdir(path):
                visit(os.path.join(path, child), child if not name else name + b"/" + child)

    visit(os.fsencode(top), b"")
    return rows, same


def main():
    mode, path = sys.argv[1:]
    rows, same = of_tar(path) if mode == "tar" else of_folder(path)
    for name, row in rows.items():
        group = same.get(name, ())
        row["twin"] = min(group).hex() if len(group) > 1 else ""
        print(json.dumps({"path": name.hex(), **row}))


main()
