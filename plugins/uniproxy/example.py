"""A SOCKS server whose users a panel names.

PANEL_TOKEN=… trioedge run example.py
"""

import trioedge as te

from trioedge_uniproxy import UniProxyControl

edge = te.Edge(
    listen="tcp://127.0.0.1:1080",
    stages=[
        te.SessionGate(rate=20, burst=40, per="source"),
        te.Socks(auth="services"),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(300),
    ],
    endpoint=te.Forward(retries=0),
    control=UniProxyControl("https://panel.example", te.Secret(env="PANEL_TOKEN"), node_id=7),
)

if __name__ == "__main__":
    te.run(edge)
