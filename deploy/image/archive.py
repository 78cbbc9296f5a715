#!/usr/bin/env python3
"""Writes a container image of one program as an archive, without a container daemon.

The root file system is that of the Dockerfile's last stage: the program, the shared libraries it is linked with, the
CA certificates, and a user `nonroot` (65532). There is no shell and no package manager. The same inputs give the same
bytes, so the digest identifies the content.

    archive.py --binary target/release/fdi-operator --name ghcr.io/fdi-operator/fdi-operator:v0.1.0 --output fdi-operator.tar
    docker load --input fdi-operator.tar     # or: ctr -n k8s.io images import, kind load image-archive, podman load

The archive is an OCI image layout that also has the manifest.json of `docker save`.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

USER = 65532
LICENCES = "licenses/"  # where OpenShift's certification and scanners expect them
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CA_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
OCI = "application/vnd.oci.image"

PASSWD = f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/home/nonroot:/sbin/nologin\n"
GROUP = f"root:x:0:\nnonroot:x:{USER}:\n"
# Without this file glibc queries DNS before it reads /etc/hosts, so that the hostAliases of a pod have no effect.
NSSWITCH = "hosts: files dns\n"


def shared_libraries(binary):
    """Every library that the loader would take, the loader included, as absolute paths; empty for a static program."""
    listing = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    text = listing.stdout + listing.stderr
    if "not a dynamic executable" in text or "statically linked" in text:
        return []
    if listing.returncode != 0:
        sys.exit(f"archive.py: ldd cannot read {binary}: {text.strip()}")
    if missing := re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE):
        sys.exit(f"archive.py: {binary} needs {', '.join(missing)}, which this machine does not have")
    return sorted(set(re.findall(r"(/\S+) \(0x[0-9a-f]+\)", text)))


def root_file_system(arguments):
    """Path → (mode, owner, content); a content of None is a folder."""
    files = {
        arguments.destination: (0o755, 0, Path(arguments.binary).read_bytes()),
        "etc/passwd": (0o644, 0, PASSWD.encode()),
        "etc/group": (0o644, 0, GROUP.encode()),
        "etc/nsswitch.conf": (0o644, 0, NSSWITCH.encode()),
        "home/nonroot": (0o700, USER, None),
        "tmp": (0o1777, 0, None),
    }
    # Symbolic links are followed: the file is stored under the name of the link.
    for library in shared_libraries(arguments.binary):
        files[library.lstrip("/")] = (0o755, 0, Path(library).read_bytes())
    files[CA_CERTIFICATES.lstrip("/")] = (0o644, 0, Path(arguments.certificates).read_bytes())
    for text in arguments.licences:
        files[LICENCES + Path(text).name] = (0o644, 0, Path(text).read_bytes())
    for path in list(files):
        for folder in Path(path).parents:
            if str(folder) != ".":
                files.setdefault(str(folder), (0o755, 0, None))
    return files


def add(archive, path, content, mode=0o644, owner=0, moment=0):
    entry = tarfile.TarInfo(path)
    entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, moment
    if content is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    else:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def layer(files, moment):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, (mode, owner, content) in sorted(files.items()):
            add(archive, path, content, mode, owner, moment)
    return buffer.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type, content, **more):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def image(files, arguments, moment):
    """The blobs of the image, and the files that refer to them: one for OCI and one for `docker load`."""
    plain = layer(files, moment)
    packed = gzip.compress(plain, compresslevel=9, mtime=0)
    labels = dict(label.split("=", 1) for label in arguments.label)
    process = {
        "Entrypoint": ["/" + arguments.destination],
        "Cmd": arguments.command,
        "User": f"{USER}:{USER}",
        "WorkingDir": arguments.working_directory,
        "ExposedPorts": {f"{port}/tcp": {} for port in arguments.port},
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"SSL_CERT_FILE={CA_CERTIFICATES}"],
        "Labels": labels,
    }
    config = as_json({
        "architecture": arguments.architecture,
        "os": "linux",
        "config": {name: value for name, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
    })
    manifest = as_json({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(f"{OCI}.config.v1+json", config),
        "layers": [descriptor(f"{OCI}.layer.v1.tar+gzip", packed)],
        "annotations": labels,
    })
    names = {"io.containerd.image.name": arguments.name, "org.opencontainers.image.ref.name": arguments.name}
    index = as_json({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.index.v1+json",
        "manifests": [descriptor(
            f"{OCI}.manifest.v1+json", manifest, annotations=names,
            platform={"architecture": arguments.architecture, "os": "linux"},
        )],
    })
    docker = as_json([{"Config": blob_path(config), "RepoTags": [arguments.name], "Layers": [blob_path(packed)]}])
    return [packed, config, manifest], {"index.json": index, "manifest.json": docker}


def blob_path(content):
    return "blobs/sha256/" + digest(content).removeprefix("sha256:")


def write(output, blobs, indexes, moment):
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(output.name + ".part")
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "oci-layout", as_json({"imageLayoutVersion": "1.0.0"}), moment=moment)
        for name, content in sorted(indexes.items()):
            add(archive, name, content, moment=moment)
        for folder in ("blobs", "blobs/sha256"):
            add(archive, folder, None, 0o755, moment=moment)
        for blob in sorted(blobs, key=digest):
            add(archive, blob_path(blob), blob, moment=moment)
    unfinished.replace(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, help="the program, built for the architecture of this machine")
    parser.add_argument("--name", required=True, help="name and tag of the image")
    parser.add_argument("--output", required=True, help="the archive to write")
    parser.add_argument("--command", action="append", default=[], metavar="WORD", help="a default argument; may be repeated")
    parser.add_argument("--port", action="append", default=[], type=int, help="a TCP port of the program; may be repeated")
    parser.add_argument("--working-directory", default="/home/nonroot", help="[default: %(default)s]")
    parser.add_argument("--licences", action="append", default=[], metavar="FILE", help="a text for /licenses; may be repeated")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="an OCI label; may be repeated")
    parser.add_argument("--certificates", default=CA_CERTIFICATES, help="the CA certificates, PEM (Debian: package ca-certificates)")
    parser.add_argument("--destination", help="path of the program in the image [default: usr/local/bin/ and its name]")
    parser.add_argument("--architecture", default=ARCHITECTURES.get(platform.machine()), choices=sorted(ARCHITECTURES.values()))
    arguments = parser.parse_args()
    arguments.destination = (arguments.destination or "usr/local/bin/" + Path(arguments.binary).name).lstrip("/")
    if bad := [label for label in arguments.label if "=" not in label]:
        parser.error(f"--label {bad[0]}: must be KEY=VALUE")
    for file in (arguments.binary, arguments.certificates, *arguments.licences):
        if not os.path.isfile(file):
            parser.error(f"{file} does not exist")
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))

    files = root_file_system(arguments)
    blobs, indexes = image(files, arguments, moment)
    write(arguments.output, blobs, indexes, moment)
    packed = len(blobs[0]) / 1e6
    unpacked = sum(len(content) for _, _, content in files.values() if content is not None) / 1e6
    identity = json.loads(indexes["index.json"])["manifests"][0]["digest"]
    print(f"{arguments.output}: {arguments.name}, {unpacked:.1f} MB in {packed:.1f} MB, {identity}")


if __name__ == "__main__":
    main()
