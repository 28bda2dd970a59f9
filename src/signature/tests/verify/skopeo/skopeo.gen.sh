#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Makes the files beside it: an index with one image, both signed by skopeo with a key that is thrown away. It needs a skopeo
# that signs for sigstore: 1.11 or newer, and not Debian 12's, which has that disabled. SKOPEO names another program.
set -euo pipefail
cd "$(dirname "$0")"
skopeo=${SKOPEO:-skopeo}
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT

size() { stat --format=%s "$1"; }
digest() { sha256sum "$1" | cut --delimiter=' ' --fields=1; }

image=${work}/image
mkdir "${image}"
echo 'Directory Transport Version: 1.1' >"${image}/version"
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}' >"${work}/config"
config=$(digest "${work}/config")
cp "${work}/config" "${image}/${config}"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"%s","digest":"sha256:%s","size":%s},"layers":[]}' \
    application/vnd.oci.image.config.v1+json "${config}" "$(size "${work}/config")" >"${work}/instance"
instance=$(digest "${work}/instance")
cp "${work}/instance" "${image}/${instance}.manifest.json"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}}]}' \
    application/vnd.oci.image.manifest.v1+json "${instance}" "$(size "${work}/instance")" >"${image}/manifest.json"

printf 'no secret' >"${work}/passphrase"
"${skopeo}" generate-sigstore-key --output-prefix "${work}/key" --passphrase-file "${work}/passphrase"
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"${work}/policy.json"
"${skopeo}" --policy "${work}/policy.json" copy --all --preserve-digests --sign-identity quay.io/os/node:v1 \
    --sign-by-sigstore-private-key "${work}/key.private" --sign-passphrase-file "${work}/passphrase" \
    "dir:${image}" "dir:${work}/signed"

cp "${work}/key.pub" key.pub
cp "${image}/manifest.json" index.json
cp "${work}/instance" instance.json
# Their first line says that the rest is JSON.
tail --lines=+2 "${work}/signed/signature-1" >index.signature.json
tail --lines=+2 "${work}/signed/${instance}.signature-1" >instance.signature.json
