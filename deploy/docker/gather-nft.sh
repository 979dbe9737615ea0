#!/bin/sh
# Puts the program nft with the libraries and the loader that it needs below a folder, as a root filesystem of its own.
#
#   deploy/docker/gather-nft.sh FOLDER
#
# Debian has no static nft. Installs it where it is missing, which needs apt.
set -eu
[ $# -eq 1 ] || {
    echo "usage: gather-nft.sh FOLDER" >&2
    exit 2
}
PATH=$PATH:/usr/sbin:/sbin
if ! command -v nft >/dev/null; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends nftables
fi
nft=$(command -v nft)

needed=$(ldd "$nft")
case $needed in
*'not found'*)
    echo "gather-nft.sh: $nft lacks libraries:" >&2
    echo "$needed" >&2
    exit 1
    ;;
esac
mkdir -p "$1/usr/sbin"
cp -L "$nft" "$1/usr/sbin/nft"
# Lines are "name => /path (address)", and "/path (address)" for the loader, which keeps the place that is written in nft.
echo "$needed" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    mkdir -p "$1$(dirname "$library")"
    cp -L "$library" "$1$library"
done
