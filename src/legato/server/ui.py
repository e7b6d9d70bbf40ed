"""Routes made for one page of the UI each."""

from litestar.handlers import HTTPRouteHandler

UI_ROUTES: list[HTTPRouteHandler] = []
