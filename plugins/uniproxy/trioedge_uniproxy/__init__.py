"""A control plane for trioedge that speaks UniProxy, the node interface of V2board and Xboard."""

from .control import UniProxyControl as UniProxyControl

__all__ = ["UniProxyControl"]
