"""Refuse what CrowdSec bans, before Redis. `cscli bouncers add edge` prints the key."""

import trioedge as te

from trioedge_crowdsec import CrowdSec

edge = te.Edge(
    listen="tcp://0.0.0.0:6380",
    stages=[
        CrowdSec(key=te.Secret(env="CROWDSEC_KEY"), url="http://127.0.0.1:8080"),
        te.SessionGate(rate=50, burst=100, per="source"),
    ],
    endpoint=te.Forward("tcp://127.0.0.1:6379"),
)

if __name__ == "__main__":
    te.run(edge)
