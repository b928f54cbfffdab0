#!/usr/bin/env bash
# Makes .venv (or reuses it) and installs into it exactly what constraints.txt pins.
#
#   PYTHON=python3.12 bash install.sh     choose the interpreter (3.10 or newer)
#
# fairseq-fixed is distributed as source only.  Its wheel is built once per Python and torch version
# and kept under ${XDG_CACHE_HOME:-~/.cache}/genft_fairseq, so the next clone installs in seconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=${PYTHON:-python3}
venv=.venv
fairseq=fairseq-fixed==0.12.3.1

die() { printf 'install.sh: %s\n' "$*" >&2; exit 2; }
say() { printf '\n== %s\n' "$*"; }

# A finished installation carries the fingerprint of what it was made from.
fingerprint=$(cat constraints.txt setup.py pyproject.toml install.sh | cksum)
if [ "$(cat "$venv/.installed" 2>/dev/null)" = "$fingerprint" ]; then exit 0; fi

command -v "$python" >/dev/null || die "PYTHON names '$python', which is not on the PATH"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
  die "Python 3.10 or newer is needed, but $python is $("$python" --version 2>&1); set PYTHON=..."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  die "$python has no venv module (Debian and Ubuntu: apt install python3-venv)"
for tool in c++ g++ clang++; do command -v "$tool" >/dev/null && compiler=$tool && break; done
[ -n "${compiler:-}" ] || die "fairseq is compiled during installation: a C++ compiler (c++, g++ or clang++) is needed"

# Asking for pip, not for python: a kill while .venv was made leaves one without the other.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || { say "making $venv"; "$python" -m venv "$venv"; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

say "torch, and what builds fairseq"
pip install --quiet --constraint constraints.txt torch setuptools wheel cython numpy

tag=$("$venv/bin/python" -c 'import sys, torch; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}")')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/genft_fairseq/wheels/$tag
mkdir -p "$cache"
built_wheel() { find "$cache" -maxdepth 1 -name "fairseq_fixed-${fairseq#*==}-*.whl" | head -n 1; }
wheel=$(built_wheel)
if [ -z "$wheel" ]; then
  say "building $fairseq (two to three minutes, once per machine)"
  building=$(mktemp -d "$cache/building.XXXXXX")
  trap 'rm -rf "$building"' EXIT
  printf '[build_ext]\nparallel = %s\n' "$(getconf _NPROCESSORS_ONLN)" >"$building/build.cfg"
  # The extensions are built side by side. By way of ninja they would overwrite each other's
  # build.ninja, so that an object is missing at times: found first, this says that there is none.
  printf '#!/bin/sh\nexit 1\n' >"$building/ninja"
  chmod +x "$building/ninja"
  # CUDA_HOME must be unset: the source distribution lacks the .cu files that it would then compile.
  env -u CUDA_HOME PATH="$building:$PATH" DIST_EXTRA_CONFIG="$building/build.cfg" CFLAGS="${CFLAGS:--O1 -g0}" \
    "$venv/bin/python" -m pip --disable-pip-version-check wheel --quiet --no-build-isolation --no-deps \
    --wheel-dir "$building" "$fairseq"
  mv "$building"/fairseq_fixed-*.whl "$cache/"
  wheel=$(built_wheel)
fi

say "fairseq and genft_fairseq"
# --no-deps: fairseq declares torchaudio, which it needs for speech only.
echo "(pip will remark that torchaudio is missing; only fairseq's speech tasks need it)"
pip install --quiet --no-deps "$wheel"
pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'

printf '%s\n' "$fingerprint" >"$venv/.installed"
say "installed into $venv: try $venv/bin/genft doctor"
