# Two images: the default has the program alone, for secrets and the built-in
# rotators; "--target python" adds an interpreter for rotation functions in
# Python.
#
#   docker build -t keyturn .
#   docker run -p 127.0.0.1:4566:4566 -v keyturn:/data -e KEYTURN_INSECURE_HTTP=true keyturn
#
# An address that is not loopback needs TLS: mount a certificate and set
# KEYTURN_TLS_CERT and KEYTURN_TLS_KEY. KEYTURN_INSECURE_HTTP=true is for
# networks on which others may read the secrets, such as this machine's own.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# --build-arg STAMP="$(git describe --tags --always),$(git rev-parse HEAD)"
ARG STAMP=
RUN CGO_ENABLED=0 go build -trimpath -tags=lambda.norpc,grpcnotrace -buildvcs=false -ldflags="-s -w -buildid= -X github.com/keyturn/keyturn/internal/release.stamp=$STAMP" -o /out/keyturn ./cmd/keyturn
RUN mkdir -p /out/data /out/tmp /out/etc \
 && echo 'keyturn:x:65532:65532:Keyturn:/data:/sbin/nologin' >/out/etc/passwd \
 && echo 'keyturn:x:65532:' >/out/etc/group

FROM python:3.13-slim-bookworm AS python
RUN pip install --no-cache-dir boto3 && mkdir -m 0700 /data && chown 65532:65532 /data
COPY --from=build /out/keyturn /opt/keyturn/keyturn
ENV KEYTURN_DATA=/data KEYTURN_LISTEN=0.0.0.0:4566
USER 65532:65532
VOLUME /data
EXPOSE 4566
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/opt/keyturn/keyturn", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/keyturn/keyturn"]
CMD ["serve"]

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/etc/passwd /out/etc/group /etc/
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data
COPY --from=build --chown=65532:65532 --chmod=0700 /out/tmp /tmp
COPY --from=build /out/keyturn /opt/keyturn/keyturn
ENV KEYTURN_DATA=/data KEYTURN_LISTEN=0.0.0.0:4566
USER 65532:65532
VOLUME /data
EXPOSE 4566
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["/opt/keyturn/keyturn", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/keyturn/keyturn"]
CMD ["serve"]
