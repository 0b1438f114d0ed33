#!/usr/bin/env bash
# Long test: builds samples/cluster/Containerfile without a registry (its base image comes from Debian's archive) and
# runs the image as kubernetes.yaml does: as nobody in particular, as one of the pods of an Indexed Job.
# Needs root; installs buildah and mmdebstrap if they are missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/cluster_common.sh"
source "$here/../samples/packages.sh"
[ "$(id -u)" = 0 ] || fail "building an image without a container engine needs root"

cleanup() {
  local status=$?
  [ $status = 0 ] || tail -n 40 "$work"/*.log >&2 || true
  rm -rf "$work"
  exit $status
}
trap cleanup EXIT

install_packages buildah mmdebstrap
cat > "$work/storage.conf" << END
[storage]
driver = "vfs"
runroot = "$work/run"
graphroot = "$work/storage"
END
export CONTAINERS_STORAGE_CONF=$work/storage.conf BUILDAH_ISOLATION=chroot

base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' "$here/../samples/cluster/Containerfile" | sort -u)
[ "$base" = docker.io/library/debian:12-slim ] || fail "this test makes debian:12-slim, not $base"
mmdebstrap --quiet --variant=minbase bookworm "$work/base.tar" > "$work/base.log" 2>&1
container=$(buildah from scratch)
buildah add --quiet "$container" "$work/base.tar" / > /dev/null
buildah commit --quiet --rm "$container" "$base" > /dev/null
rm "$work/base.tar"

buildah build --pull-never -f "$here/../samples/cluster/Containerfile" -t bifrons "$here/.." > "$work/build.log" 2>&1

mkdir "$work/data"
chown 65532:65532 "$work/data"
write_jobs "$work/data/jobs.jsonl" 8 1
container=$(buildah from --pull-never localhost/bifrons)
run() {
  buildah run --volume "$work/data:/data" "$@"
}
[ "$(run "$container" -- id -u)" = 65532 ] || fail "the image does not run as 65532"
for index in 0 1; do
  run --env JOB_COMPLETION_INDEX=$index --env BIFRONS_SHARD_COUNT=2 "$container" -- \
    bifrons render /data/jobs.jsonl -o /data/pictures --seed 1 -q > "$work/pod$index.log" 2>&1
done
run "$container" -- bifrons merge /data/pictures
[ "$(pictures_in "$work/data/pictures" | wc -l)" = 8 ] || fail "not 8 pictures"
# Nothing to build with is left in it.
tools=$(run "$container" -- sh -c 'command -v g++ cmake ninja || true')
[ -z "$tools" ] || fail "the image holds $tools"
