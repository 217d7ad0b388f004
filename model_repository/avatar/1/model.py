"""Portraits in, avatars out: Triton's side of `tritalk.avatar`."""

from __future__ import annotations

from typing import Any

import cv2
import triton_python_backend_utils as pb_utils

from tritalk.avatar.prepare import AvatarMaker
from tritalk.avatar.service import Avatars
from tritalk.avatar.settings import AvatarSettings
from tritalk.glue import Glue
from tritalk.image_store import ImageStore
from tritalk_client import wire
from tritalk_client.errors import ErrorCode, TritalkError

_MAX_COMMAND_BYTES = 4096


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._glue = Glue(pb_utils, args)
        settings = self._glue.settings(AvatarSettings)
        # One registration at a time leaves the other cores to the conversations.
        cv2.setNumThreads(1)
        maker = AvatarMaker(self._glue.folder, settings)
        maker.warm_up()
        self._avatars = Avatars(maker, ImageStore(settings.store_url))
        self._glue.loaded()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        self._glue.close()

    def _respond(self, request: Any) -> Any:
        try:
            command = self._glue.payload(request, "COMMAND", limit=_MAX_COMMAND_BYTES)
            if command is None:
                raise TritalkError(ErrorCode.BAD_REQUEST, "COMMAND is missing")
            image = self._glue.payload(request, "IMAGE", limit=wire.MAX_IMAGE_BYTES)
            result = self._avatars.handle(wire.decode_avatar_command(command), image)
        except TritalkError as error:
            return self._glue.failure(error)
        return self._glue.response(AVATAR=wire.encode(result))
