# The contender's image: one binary on a bare Debian.

FROM rust:1.95.0-slim-trixie AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package peleja --bin peleja

FROM debian:trixie-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin peleja
COPY --from=build /build/target/release/peleja /usr/local/bin/peleja
USER 10001:10001
ENTRYPOINT ["peleja"]
