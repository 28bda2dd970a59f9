#!/bin/bash
## kola:
##   # additional disks and the injected archive are qemu's
##   platforms: qemu
##   # the node image: the OS's own, so that no registry is needed
##   injectContainer: true
##   # where it is staged
##   additionalDisks: ["5G"]
##   # the disk holds the bootimage and the node image
##   minDisk: 20
##   # one import of a full image, two boots
##   timeoutMin: 30
##   description: Verify what slipstream tells about a boot in status file, journal and metrics.
#
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The account of a swap, in all its forms: for people, for programs, for the journal and for node-exporter. They must
# agree with one another and with the machine.
set -xeuo pipefail

# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/commonlib.sh"
# shellcheck disable=SC1091
. "$KOLA_EXT_DATA/stage.sh"

has_metric() {
  grep -Fxq "$1" /run/slipstream/slipstream.prom || fatal "no metric $1: $(cat /run/slipstream/slipstream.prom)"
}

case "${AUTOPKGTEST_REBOOT_MARK:-}" in
  "")
    stage_archive
    request_archive slipstream.deadline=20min
    /tmp/autopkgtest-reboot swapped
    ;;
  swapped)
    # The file: the request with its origin, both images, every stage, every source.
    status_is '.version == 1 and .outcome == "swapped" and .way == "boot-link" and .reason == null'
    status_is '.request | .deadline == {value: "20min", from: "karg"} and .source.from == "karg"'
    [[ $(status_of .bootimage.kernel) == "$(uname -r)" ]] || fatal "running $(uname -r)"
    [[ /sysroot/$(status_of .node_image.deployment) == "$(booted_path)" ]] || fatal "booted is $(booted_path)"
    status_is '[.stages[] | select(.seconds >= 0) | .name] | contains(["source", "import", "deploy", "swap", "settle"])'
    status_is '.endpoints | map(.error) == [null]'
    [[ $(stat --format='%a %u' "$STATUS") == '644 0' ]] || fatal "mode of the status: $(stat "$STATUS")"
    slipstream status --json | cmp - "$STATUS" || fatal "the command prints another status"
    slipstream status || fatal "the command fails"

    # The journal: one event, which has the same facts, and an explanation of it.
    # shellcheck disable=SC2016  # the variables are jq's
    status_is '. as $status | $events | length == 1 and .[0].SLIPSTREAM_OUTCOME == "swapped" and
      .[0].SLIPSTREAM_IMAGE == $status.request.image.value and
      .[0].SLIPSTREAM_IMAGE_DIGEST == $status.node_image.manifest_digest and
      .[0].SLIPSTREAM_COMMIT == $status.node_image.commit and
      .[0].DEPLOYMENT_PATH == $status.node_image.deployment' --argjson events "$(events)"
    journalctl --update-catalog
    journalctl --dump-catalog "$EVENT" || fatal "the catalog does not know the event"

    # The metrics, which a collector reads as a whole.
    has_metric 'slipstream_outcome{outcome="swapped"} 1'
    has_metric 'slipstream_outcome{outcome="failed"} 0'
    has_metric 'slipstream_reboot_avoided 1'
    [[ $(tail -n 1 /run/slipstream/slipstream.prom) == '# EOF' ]] || fatal "the metrics are cut"
    assert_no_failed_unit
    ok "the account is complete"
    ;;
  *) fatal "unexpected mark: ${AUTOPKGTEST_REBOOT_MARK}" ;;
esac
