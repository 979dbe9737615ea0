# shellcheck shell=bash
# An image as a file, without an engine. Source it after images/lib.sh.
# shellcheck disable=SC2154 # its settings

# write_image ARCHIVE FILE TAG KEY CHANGE... : the image that import_image would make, as a file like those of `docker save`.
# Needs no engine.
write_image() (
    local archive=$1 file=$2 tag=$3 key=$4
    local folder config layer name
    shift 4
    folder=$(mktemp -d "$image_cache/image.XXXXXX")
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -rf '$folder' '$file.new'" EXIT
    layer=$(sha256sum <"$archive" | cut -c 1-64)
    config=$(image_config "LABEL $key_label=$key" "$@")
    printf '{"architecture":"%s","os":"linux","created":"%s","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(dpkg --print-architecture)" "$(date -u -d "@$image_epoch" +%Y-%m-%dT%H:%M:%SZ)" "$config" "$layer" >"$folder/config.json"
    name=$(sha256sum <"$folder/config.json" | cut -c 1-64).json
    mv "$folder/config.json" "$folder/$name"
    printf '[{"Config":"%s","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" "$tag" >"$folder/manifest.json"
    ln -s "$(realpath "$archive")" "$folder/layer.tar"
    # Whole or not at all.
    tar -C "$folder" --dereference --mtime="@$image_epoch" --owner=0 --group=0 --numeric-owner --mode=644 \
        -cf "$file.new" manifest.json "$name" layer.tar || die "could not write $file"
    mv "$file.new" "$file"
    say "$tag: $(du -h --apparent-size "$file" | cut -f 1) in $file"
)

# image_config CHANGE... : what the instructions come to, as an image's configuration has it. Their words hold no quotes.
image_config() {
    local change value word env='' ports='' labels='' others=''
    for change in "$@"; do
        value=${change#* }
        case ${change%% *} in
        ENV) for word in $value; do env+=",\"$word\""; done ;;
        EXPOSE) for word in $value; do ports+=",\"$word/tcp\":{}"; done ;;
        LABEL) labels+=",\"${value%%=*}\":\"${value#*=}\"" ;;
        USER) others+=",\"User\":\"$value\"" ;;
        WORKDIR) others+=",\"WorkingDir\":\"$value\"" ;;
        ENTRYPOINT) others+=",\"Entrypoint\":$value" ;;
        CMD) others+=",\"Cmd\":$value" ;;
        *) die "image_config does not know: $change" ;;
        esac
    done
    printf '{"Env":[%s],"ExposedPorts":{%s},"Labels":{%s}%s}' "${env#,}" "${ports#,}" "${labels#,}" "$others"
}

# image_file_has_key FILE KEY
image_file_has_key() {
    [ -f "$1" ] && tar -xOf "$1" --wildcards '*.json' 2>/dev/null | grep -qF "\"$key_label\":\"$2\""
}
