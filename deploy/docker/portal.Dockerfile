# The portal's image: Node.js, the portal and its production dependencies. Build it from the root of the repository:
#
#   docker build -f deploy/docker/portal.Dockerfile -t clarateach-portal .
#
# For the classic builder as well as for BuildKit. NODE_IMAGE is any image with Node.js 20 or newer and, for building, npm.
ARG NODE_IMAGE=node:20-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src/portal
# What decides about the dependencies comes first: they are fetched again only when it changes.
COPY portal/package.json portal/package-lock.json portal/.npmrc ./
COPY portal/src/services/package.json src/services/
RUN npm ci --no-audit --no-fund
COPY portal ./
# Built with the tools, then installed anew without them: pruning leaves traces.
RUN npm run build && npm ci --omit=dev --no-audit --no-fund
RUN mkdir -m 700 /data && chown 1000:1000 /data

FROM ${NODE_IMAGE} AS portal
WORKDIR /srv/portal
COPY --from=build /src/portal/package.json ./
COPY --from=build /src/portal/node_modules node_modules
# A package of its own, to which node_modules has a link.
COPY --from=build /src/portal/src/services/package.json src/services/
COPY --from=build /src/portal/src/services/dist src/services/dist
COPY --from=build /src/portal/dist dist
COPY deploy/docker/healthcheck.mjs ./
# A new volume gets the owner of the folder that it is mounted on.
COPY --from=build --chown=1000:1000 /data /data
ENV NODE_ENV=production PORTAL_DATA_DIR=/data
USER 1000:1000
ENTRYPOINT ["node"]
CMD ["dist/main.js"]
HEALTHCHECK --interval=10s --timeout=15s --start-period=10s --retries=3 CMD ["node", "healthcheck.mjs"]
