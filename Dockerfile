# One image with both daemons and nothing else: docker build --build-arg REVISION=$(git rev-parse --short=12 HEAD) .
# Plain enough for the legacy builder as well; each architecture builds itself.
FROM rust:1.95-bookworm AS build
WORKDIR /src

# Static, since the image has no libc; and random numbers from the system call, since it may have no /dev.
# Symbols are for debuggers, and there is none inside.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"" \
    CARGO_PROFILE_RELEASE_STRIP=symbols

# The dependencies in a layer of their own, built for empty crates: it stays until a manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY crates/cliente/Cargo.toml crates/cliente/
COPY crates/daemon/Cargo.toml crates/daemon/
COPY crates/pause/Cargo.toml crates/pause/
COPY crates/protocol/Cargo.toml crates/protocol/
COPY crates/servidor/Cargo.toml crates/servidor/
COPY crates/testkit/Cargo.toml crates/testkit/
COPY crates/xtask/Cargo.toml crates/xtask/
# Benches are named by manifests, and their files are not there yet.
# Naming the target keeps the flags away from build scripts and macros. What was built of the empty crates is removed:
# the real sources, copied next, may be older, and would be taken for built.
RUN for crate in crates/*; do mkdir $crate/src && touch $crate/src/lib.rs && echo 'fn main() {}' >$crate/src/main.rs; done \
    && sed -i '/^\[\[bench\]\]/,/^$/d' crates/*/Cargo.toml \
    && TARGET=$(uname -m)-unknown-linux-gnu \
    && cargo build --locked --release --target $TARGET -p servidor -p cliente -p pause \
    && cargo clean --release --target $TARGET -p cliente -p daemon -p pause -p protocol -p servidor \
    && rm -r crates/*/src

ARG REVISION
COPY crates crates
RUN TARGET=$(uname -m)-unknown-linux-gnu \
    && REVISION=$REVISION cargo build --locked --release --target $TARGET -p servidor -p cliente -p pause \
    && mkdir /out && cd target/$TARGET/release && cp servidor cliente pause /out/

FROM scratch
ARG REVISION
LABEL org.opencontainers.image.title="servidor and cliente" \
      org.opencontainers.image.description="A canary for a TCP path: a server that judges numbers, a client that checks it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /
COPY --from=build /out/ /usr/bin/
# Nobody in particular: there is no /etc/passwd, so a number.
USER 65532:65532
CMD ["servidor"]
