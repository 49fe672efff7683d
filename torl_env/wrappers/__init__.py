"""Other views of an episode, and what changes or records one."""

from torl_env.wrappers.chat import Chat, Message, Messages, messages
from torl_env.wrappers.record import RecordTranscript
from torl_env.wrappers.shaping import ShapeReward
from torl_env.wrappers.tokens import ChatTokens, InlineTokens, TokenIds, TokenPrompt, Tokens
from torl_env.wrappers.transcript import Transcript
from torl_env.wrappers.void_turns import MarkVoidTurns, drop_void_turns, is_void

__all__ = [
    "Chat",
    "ChatTokens",
    "InlineTokens",
    "MarkVoidTurns",
    "Message",
    "Messages",
    "RecordTranscript",
    "ShapeReward",
    "TokenIds",
    "TokenPrompt",
    "Tokens",
    "Transcript",
    "drop_void_turns",
    "is_void",
    "messages",
]
