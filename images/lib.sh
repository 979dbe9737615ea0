# shellcheck shell=bash
# What the image builds share: a key computed from an image's inputs, the test whether an image with that key is there,
# the cache of root filesystem archives, and the import. Source it after scripts/lib.sh.
#
# Images are made with `docker import`: it needs no builder (old engines and new clients disagree about builders), no
# base image and no registry, and streams the archive once.

key_label=org.clarateach.image.key

# Archives are kept here between builds, named by key.
image_cache=${XDG_CACHE_HOME:-$HOME/.cache}/clarateach

# Every file in an image carries at most this time, so that the same packages give the same bytes.
# shellcheck disable=SC2034 # used by the builds
image_epoch=1735689600 # 2025-01-01

# image_key FILE_OR_DIRECTORY... : a digest of the names, modes and contents; standard input is mixed in.
# Run it in the inputs' folder: paths count as they are given.
image_key() {
    {
        cat
        find "$@" -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | while IFS= read -r -d '' file; do
            printf '%s %s ' "$file" "$([ -x "$file" ] && echo x || echo -)"
            sha256sum <"$file"
        done
    } | sha256sum | cut -c 1-32
}

# image_has_key TAG KEY
image_has_key() {
    [ "$(docker image inspect --format "{{index .Config.Labels \"$key_label\"}}" "$1" 2>/dev/null)" = "$2" ]
}

# import_image ARCHIVE TAG KEY CHANGE... : a change is one Dockerfile instruction.
import_image() {
    local archive=$1 tag=$2 key=$3
    local -a changes=()
    shift 3
    for change in "LABEL $key_label=$key" "$@"; do
        changes+=(--change "$change")
    done
    local old
    old=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
    docker import "${changes[@]}" "$archive" "$tag" >/dev/null
    drop_replaced_image "$old"
    say "$tag: $(docker image inspect --format '{{.Size}}' "$tag" | awk '{printf "%.1f MB", $1 / 1e6}')"
}

# drop_replaced_image ID : removes the image that lost its tag to a newer build of ours, unless something still uses it.
drop_replaced_image() {
    local about
    about=$(docker image inspect --format "{{len .RepoTags}} {{index .Config.Labels \"$key_label\"}}" "$1" 2>/dev/null) || return 0
    if [[ $about =~ ^0\ [0-9a-f]+$ ]]; then
        docker image rm "$1" >/dev/null 2>&1 || true
    fi
}

# One build at a time per cache, where flock exists. Held until the script ends.
lock_cache() {
    # Once for the whole script: a second open file would wait for the first.
    [ -z "${cache_lock:-}" ] || return 0
    mkdir -p "$image_cache"
    if have flock; then
        exec {cache_lock}>"$image_cache/.lock"
        flock "$cache_lock"
    fi
}

# store_archive FILE NAME KEY : puts a finished archive into the cache and drops the older ones of that name.
store_archive() {
    local kept=$image_cache/$2-$3.tar
    mv "$1" "$kept"
    find "$image_cache" -maxdepth 1 -name "$2-*.tar" ! -name "${kept##*/}" -delete
}

# The distribution of this machine, as the image will have it: sets `distro` (debian or ubuntu) and `codename`.
read_distribution() {
    [ -r /etc/os-release ] || die "this image is built on Debian or Ubuntu, from the packages of that system.
For another system, build it there and carry it over: docker save IMAGE | docker load"
    local name
    name=$(. /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
    case " $name " in
    *" ubuntu "*) distro=ubuntu codename=$(. /etc/os-release && echo "${UBUNTU_CODENAME:-$VERSION_CODENAME}") ;;
    *" debian "*) distro=debian codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}") ;;
    *) die "this image is built on Debian or Ubuntu; this is: $name" ;;
    esac
    [ -n "$codename" ] || die "/etc/os-release names no release (Debian testing and unstable are not supported)"
}

# Prints `deb URI SUITE main` for the distribution's own archives among the machine's apt sources, in whatever format
# and from whatever mirror they are configured. Archives of others are left out: their keys are not in the image.
distribution_sources() {
    local sources
    apt_has_lists || apt_update || die "apt-get update failed (see above)"
    # shellcheck disable=SC2016 # apt's own variables
    sources=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(RELEASE) $(REPO_URI)' \
        'Identifier: Packages' |
        awk -v origin="$distro" -v codename="$codename" '
            tolower($1) == origin && $2 == "main" && index($3, codename) == 1 &&
            $4 !~ /-(backports|backports-sloppy|proposed|proposed-updates)$/ { print "deb", $5, $4, $2 }' |
        awk '!seen[$0]++')
    [ -n "$sources" ] || die "found no $distro $codename archive among the apt sources of this machine"
    printf '%s\n' "$sources"
}
