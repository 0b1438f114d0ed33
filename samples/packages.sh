# Sourced by samples/quickstart.sh, tests/run.sh and others: what Debian 12 has to provide.
build_packages=(g++ cmake ninja-build pkg-config nlohmann-json3-dev libcli11-dev libdnnl-dev libssl-dev libpcre2-dev
  libutf8proc-dev libpng-dev zlib1g-dev libjpeg-dev libwebp-dev libedit-dev libchafa-dev libpango1.0-dev
  libopencv-core-dev libheif-dev libtiff-dev libcurl4-openssl-dev ca-certificates fonts-dejavu-core)
# What the program itself needs beside libc6, where it was built elsewhere (samples/cluster/Containerfile).
runtime_packages=(ca-certificates libcairo2 libchafa0 libcurl4 libdnnl2 libedit2 libgcc-s1 libglib2.0-0 libgomp1 libheif1
  libjpeg62-turbo libopencv-core406 libpango-1.0-0 libpangocairo-1.0-0 libpcre2-8-0 libpng16-16 libssl3 libstdc++6 libtiff6
  libutf8proc2 libwebp7 libwebpdemux2 libwebpmux3 zlib1g fonts-dejavu-core)
test_packages=(catch2 python3 clang lld llvm libclang-rt-14-dev clang-format-14
  g++-aarch64-linux-gnu mmdebstrap zsh fish mandoc)

# install_packages PACKAGE…: those that are missing, as root or through sudo.
install_packages() {
  local missing=() package as_root=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "missing packages, and neither root nor sudo: ${missing[*]}" >&2; return 1; }
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}
