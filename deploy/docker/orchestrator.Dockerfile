# The service's image: FROM scratch, and in it one static binary. Build it from the root of the repository:
#
#   docker build -f deploy/docker/orchestrator.Dockerfile -t clarateach-orchestrator .
#
# Two targets, for --target:
#   orchestrator           the binary, and nothing else
#   orchestrator-guarded   (the default) with nft and its libraries beside it: with these, on the host's network and with
#                          NET_ADMIN, the service keeps seats from the cloud's metadata service
#
# For the classic builder as well as for BuildKit. RUST_IMAGE is any image with cargo, a C linker, libc.a, ldd, and nft or
# apt to install it.
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY deploy/docker/gather-nft.sh deploy/docker/
RUN deploy/docker/gather-nft.sh /out/nft
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY xtask xtask
COPY deploy/docker/build-static.sh deploy/docker/
# The commit that /version tells; git is not in here.
ARG BUILD_GIT_COMMIT=
RUN [ -n "$BUILD_GIT_COMMIT" ] || unset BUILD_GIT_COMMIT; deploy/docker/build-static.sh /out/orchestrator

FROM scratch AS orchestrator
COPY --from=build /out/orchestrator /usr/local/bin/orchestrator
ENV PATH=/usr/local/bin:/usr/sbin
# No USER: the engine's socket, without which there is nothing to do, belongs to root. Run it without capabilities.
ENTRYPOINT ["orchestrator"]
CMD ["serve"]
HEALTHCHECK --interval=10s --timeout=15s --start-period=10s --retries=3 CMD ["orchestrator", "healthcheck"]

FROM orchestrator AS orchestrator-guarded
COPY --from=build /out/nft/ /
