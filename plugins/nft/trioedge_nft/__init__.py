"""An observer of trioedge that has nftables drop the connections of sources that were refused too often."""

from .nft_ban import NftBan as NftBan

__all__ = ["NftBan"]
