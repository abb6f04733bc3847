//! The configurations: keep-alive on both sides, no access log, one worker, TLS 1.3 with X25519 and the
//! same certificate, no session tickets where that can be said, the same headers added to requests.

use std::path::Path;

use super::client::{FILTERED_HOST, PLAIN_HOST, Ports, TLS_HOST};
use crate::certs::Pems;

const NGINX_COMMON: &str = "\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  default_type text/plain;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  http2_max_requests 1000000000;
  ssl_certificate tls.pem;
  ssl_certificate_key tls.pem;
  ssl_protocols TLSv1.3;
  ssl_ecdh_curve X25519;
  ssl_session_tickets off;
  ssl_session_cache off;
";

pub(super) fn nginx_backend(folder: &Path, ports: Ports) -> String {
    let (http, https, body) = (ports.http, ports.https, "x".repeat(100));
    let folder = folder.display();
    format!(
        "user root;
{NGINX_COMMON}  sendfile on;
  open_file_cache max=10 inactive=1h;
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    listen 127.0.0.1:{https} ssl http2 backlog=4096;
    root {folder};
    location /v {{ return 200 \"v\"; }}
    location = /100 {{ return 200 \"{body}\"; }}
  }}
}}
"
    )
}

pub(super) fn nginx_proxy(listen: Ports, backend: Ports) -> String {
    let (http, https) = (listen.http, listen.https);
    format!(
        "user root;
{NGINX_COMMON}  upstream web {{ server 127.0.0.1:{web}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  upstream websocket {{ server 127.0.0.1:{websocket}; }}
  proxy_http_version 1.1;
  proxy_max_temp_file_size 0;
  proxy_set_header Host $http_host;
  proxy_set_header Connection \"\";
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Scheme $scheme;
  proxy_set_header X-Scheme $scheme;
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    listen 127.0.0.1:{https} ssl http2 backlog=4096;
    location / {{ proxy_pass http://web; }}
    location /ws {{
      proxy_pass http://websocket;
      proxy_set_header Connection Upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $http_host;
    }}
  }}
}}
",
        web = backend.http,
        websocket = backend.websocket,
    )
}

pub(super) fn haproxy(folder: &Path, connections: u64, listen: Ports, backend: Ports) -> String {
    format!(
        "global
  nbthread 1
  maxconn {connections}
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-bind-curves X25519
  tune.ssl.cachesize 0
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  timeout http-keep-alive 600s
  timeout tunnel 600s
  http-reuse always
  backlog 4096
frontend all
  bind 127.0.0.1:{http}
  bind 127.0.0.1:{https} ssl crt {folder}/tls.pem alpn h2,http/1.1
  http-request set-header X-Request-ID %[uuid()]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Scheme %[ssl_fc,iif(https,http)]
  http-request set-header X-Scheme %[ssl_fc,iif(https,http)]
  use_backend websocket if {{ path_beg /ws }}
  default_backend web
backend web
  server one 127.0.0.1:{web}
backend websocket
  server one 127.0.0.1:{websocket}
",
        http = listen.http,
        https = listen.https,
        folder = folder.display(),
        web = backend.http,
        websocket = backend.websocket,
    )
}

/// The objects that say the same to l7-ingress.
pub(super) fn manifests(pems: &Pems, backend: Ports) -> String {
    let (web, websocket) = (backend.http, backend.websocket);
    format!(
        "{}---\n{}---\n{}---\n{}---\n{}---\n{}---\n{}",
        CLASS,
        service("web", web),
        service("websocket", websocket),
        pems.secret("bench-tls"),
        ingress("plain", PLAIN_HOST, ""),
        ingress(
            "tls",
            TLS_HOST,
            &format!("  tls:\n    - hosts: [{TLS_HOST}]\n      secretName: bench-tls\n"),
        ),
        filtered(web),
    )
}

const CLASS: &str = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: penstock
spec:
  controller: penstock.dev/ingress
";

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
  annotations:
    penstock.dev/endpoints: \"127.0.0.1:{port}\"
spec:
  ports:
    - port: 80
"
    )
}

fn ingress(name: &str, host: &str, tls: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: default
spec:
  ingressClassName: penstock
{tls}  rules:
    - host: {host}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend: {{ service: {{ name: web, port: {{ number: 80 }} }} }}
          - path: /ws
            pathType: Prefix
            backend: {{ service: {{ name: websocket, port: {{ number: 80 }} }} }}
"
    )
}

/// An Ingress with what a busy one has: external authentication whose answers are cached, CORS, a rate
/// limit that nobody reaches, and a rewrite.
fn filtered(auth: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: filtered
  namespace: default
  annotations:
    nginx.ingress.kubernetes.io/auth-url: http://127.0.0.1:{auth}/100
    nginx.ingress.kubernetes.io/auth-cache-key: $http_authorization
    nginx.ingress.kubernetes.io/auth-cache-duration: 200 1h
    nginx.ingress.kubernetes.io/enable-cors: \"true\"
    nginx.ingress.kubernetes.io/limit-rps: \"1000000\"
    nginx.ingress.kubernetes.io/rewrite-target: /$1
spec:
  ingressClassName: penstock
  rules:
    - host: {FILTERED_HOST}
      http:
        paths:
          - path: /api/(.*)
            pathType: ImplementationSpecific
            backend: {{ service: {{ name: web, port: {{ number: 80 }} }} }}
"
    )
}
