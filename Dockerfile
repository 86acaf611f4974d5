# Two images. The contender's is what `docker build .` makes: one binary on a bare Debian.

FROM rust:1.95.0-slim-trixie AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package peleja --bin peleja

FROM debian:trixie-slim AS contender
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin peleja
COPY --from=build /build/target/release/peleja /usr/local/bin/peleja
USER 10001:10001
ENTRYPOINT ["peleja"]

# The lab's: docker build --target lab . The contender's code is no part of it, so a stub stands in for that package.
FROM rust:1.95.0-slim-trixie AS build-lab
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY benches benches
RUN mkdir src && touch src/main.rs && cargo build --profile tool --locked --package lab --bin lab

FROM debian:trixie-slim AS lab
RUN useradd --system --uid 10002 --no-create-home --shell /usr/sbin/nologin lab
COPY --from=build-lab /build/target/tool/lab /usr/local/bin/lab
USER 10002:10002
ENTRYPOINT ["lab"]

FROM contender
