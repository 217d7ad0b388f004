"""The SDK for asyncio; what it says and means is what the side for threads says and means."""

from tritalk_client.aio.conversation import AsyncConversation, AsyncTurn
from tritalk_client.aio.narration import AsyncNarration
from tritalk_client.aio.talker import AsyncTalker

__all__ = ["AsyncConversation", "AsyncNarration", "AsyncTalker", "AsyncTurn"]
