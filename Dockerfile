# One image with both daemons and nothing else: docker build --build-arg REVISION=$(git rev-parse HEAD) .
# In a clone the programs know their revision without the argument too; the label does not. SOURCE is where the sources are.
# Plain enough for the legacy builder as well; each architecture builds itself.
FROM rust:1.95-bookworm AS sources
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
# All manifests, for empty crates. Benches and examples are named by manifests, and their files are not there.
RUN mkdir /empty && cp --parents Cargo.toml Cargo.lock crates/*/Cargo.toml /empty && cd /empty \
    && sed -Ei '/^\[\[(bench|example)\]\]/,/^$/d' crates/*/Cargo.toml \
    && for crate in crates/*; do mkdir $crate/src && touch $crate/src/lib.rs && echo 'fn main() {}' >$crate/src/main.rs; done

# The part of .git that names the commit, where there is one: the pattern may match nothing. Git wants the folders to be there.
COPY Cargo.toml .gi[t] git/
ARG REVISION
RUN mkdir -p git/objects git/refs && echo "${REVISION:-$(git --git-dir=git rev-parse --quiet --verify HEAD)}" >/revision

FROM rust:1.95-bookworm AS build
WORKDIR /src

# Static, since the image has no libc; and random numbers from the system call, since it may have no /dev.
# Symbols are for debuggers, and there is none inside.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"" \
    CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies in a layer of their own, built for the empty crates: it stays until a manifest or the lock file changes.
# Naming the target keeps the flags away from build scripts and macros. What was built of the empty crates is removed:
# the real sources, copied next, may be older, and would be taken for built.
COPY --from=sources /empty .
RUN TARGET=$(uname -m)-unknown-linux-gnu \
    && cargo build --locked --release --target $TARGET -p servidor -p cliente \
    && cargo clean --release --target $TARGET $(ls crates | sed 's/^/-p /') \
    && rm -r crates

COPY crates crates
COPY --from=sources /revision /revision
RUN TARGET=$(uname -m)-unknown-linux-gnu \
    && REVISION=$(cut -c1-12 /revision) cargo build --locked --release --target $TARGET -p servidor -p cliente \
    && mkdir /out && cd target/$TARGET/release && cp servidor cliente /out/

FROM scratch
ARG REVISION
ARG SOURCE=https://servidor.invalid/
LABEL org.opencontainers.image.title="servidor and cliente" \
      org.opencontainers.image.description="A canary for a TCP path: a server that judges numbers, a client that checks it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /
COPY --from=build /out/ /usr/bin/
# Nobody in particular: there is no /etc/passwd, so a number.
USER 65532:65532
CMD ["servidor"]
