"""A reverse proxy on the host that keeps idle connections to the provider for later requests (nginx); a program of the VM says
``base_url = "http://192.168.64.1:8080"`` and speaks HTTP in the clear with it."""

from __future__ import annotations

from typing import Any

from netlens.lab.topology import HOST, HOST_INSIDE_IP, PROVIDER_IP, Context, await_listening

OWN_CONNECTIONS = True
#: ``keepalive``: idle connections to the provider that a worker keeps.
OPTIONS: dict[str, Any] = {"keepalive": 8}
NEEDS = ("nginx",)
PORT = 8080


def start(context: Context) -> None:
    folder = context.topology.folder
    config = folder / "nginx.conf"
    temporary = "".join(f"  {name}_temp_path {folder}/nginx-{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"""daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
{temporary}  upstream provider {{
    server {PROVIDER_IP}:443;
    keepalive {context.scenario.path["keepalive"]};
  }}
  server {{
    listen {HOST_INSIDE_IP}:{PORT};
    location / {{
      proxy_pass https://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host api.z.ai;
      proxy_ssl_server_name on;
      proxy_ssl_name api.z.ai;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {context.certificate};
      proxy_buffering off;
    }}
  }}
}}
""",
        encoding="ascii",
    )
    child = context.topology.start(HOST, ["nginx", "-p", str(folder), "-c", str(config)])
    await_listening(context.topology, HOST, PORT, child, "nginx")
