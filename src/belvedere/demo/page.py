"""The page itself: its two tabs, and how it is shown on this machine alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from belvedere.data.pictures import open_picture
from belvedere.demo.asking import ASKED, ChartAsker
from belvedere.demo.examples import PROMPTS, ChartExample, chart_examples
from belvedere.demo.prompting import Prompter
from belvedere.demo.tokens import notice
from belvedere.errors import BadInput
from belvedere.submodels.engine.choices import DECODINGS

try:
    import gradio as gr
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
except ImportError as error:
    raise BadInput(
        "the page needs gradio, which is not installed", remedy="pip install -e '.[demo]'"
    ) from error

STYLE = Path(__file__).with_name("page.css")
FONTS = ("system-ui", "Helvetica", "Arial", "sans-serif")
"""Of the machine: gradio's own would be fetched."""
ONLY_FROM_HERE = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"
)
"""The browser loads nothing from anywhere else, whatever gradio's next release asks it to."""
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""Answers that share the machine would be slower than their counters say."""
PROMPT_TAB, CHART_TAB = "Exits", "Charts"
LARGEST = "50mb"


@dataclass(frozen=True)
class Look:
    """What belongs to a page's looks, which gradio wants when the page is shown."""

    theme: Any
    css: str


def page_of(prompter: Prompter, asker: ChartAsker, charts: Path) -> tuple[Any, Look]:
    """The page, and its looks.

    Args:
        prompter: answers prompts.
        asker: reads charts.
        charts: file of charts that are offered.

    Raises:
        BadInput: there are no such charts.
    """
    examples = list(chart_examples(charts))
    with gr.Blocks(title="belvedere", analytics_enabled=False) as page:
        with gr.Tab(PROMPT_TAB):
            _prompt_tab(prompter)
        with gr.Tab(CHART_TAB):
            _chart_tab(asker, examples)
    theme = gr.themes.Default(
        primary_hue="blue", font=FONTS, font_mono=("ui-monospace", "Consolas", "monospace")
    )
    return page, Look(theme, STYLE.read_text(encoding="utf-8"))


def opened(page: Any, look: Look, host: str, port: int | None, *, block: bool = True) -> str:
    """Show a page, by default until Ctrl-C, and say where.

    Args:
        page: of `page_of`.
        look: likewise.
        host: address to listen on.
        port: by default the first free one from 7860 on.
        block: whether to wait for the end.

    Returns:
        Its address.

    Raises:
        BadInput: the port is taken.
    """
    guard = Middleware(BaseHTTPMiddleware, dispatch=_only_from_here)
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port, share=False, inbrowser=False, quiet=True,
            prevent_thread_lock=True, footer_links=[], max_file_size=LARGEST, ssr_mode=False,
            mcp_server=False, theme=look.theme, css=look.css, app_kwargs={"middleware": [guard]},
        )  # fmt: skip
    except OSError as error:
        raise BadInput(
            f"cannot listen on {host}" + ("" if port is None else f":{port}"),
            where="port", remedy="give another port, or none, or another host",
        ) from error  # fmt: skip
    print(f"the page is open: {address}  (Ctrl-C closes it)", flush=True)
    if block:
        page.block_thread()
    return str(address)


async def _only_from_here(request: Any, follow: Any) -> Any:
    found = await follow(request)
    found.headers["Content-Security-Policy"] = ONLY_FROM_HERE
    found.headers["Referrer-Policy"] = "no-referrer"
    return found


def _prompt_tab(prompter: Prompter) -> None:
    depths = [(f"after layer {depth}", depth) for depth in prompter.checkpoint.depths]
    gr.Markdown(prompter.told())
    with gr.Row():
        with gr.Column(scale=5, min_width=380):
            prompt = gr.Textbox(
                PROMPTS["an element"], label="Prompt", lines=4, max_lines=10,
                placeholder="Type a prompt, or choose an example",
            )  # fmt: skip
            gr.Examples(
                [[text] for text in PROMPTS.values()], [prompt], example_labels=list(PROMPTS),
                label="Of the kinds that the shipped models have learned", cache_examples=False,
            )  # fmt: skip
            with gr.Row():
                start = gr.Button("Write", variant="primary")
                stop = gr.Button("Stop", variant="secondary")
            way = gr.Radio(list(DECODINGS), value="confident", label="Decoding")
            exit = gr.Dropdown(
                [("chosen by the engine", 0), *depths], value=0, label="Exit", visible=False
            )
            exits = gr.CheckboxGroup(
                depths, value=prompter.asked, label="Exits that may be left at"
            )
            threshold = gr.Slider(
                0, 1, round(prompter.threshold, 2), step=0.01,
                label="Threshold: how sure an exit has to be",
            )  # fmt: skip
            with gr.Row():
                most = min(400, prompter.context)
                new = gr.Slider(1, most, min(100, most), step=1, label="New tokens at most")
                warmth = gr.Slider(0, 2, 0, step=0.1, label="Temperature (0: greedy)")
        with gr.Column(scale=7, min_width=480):
            chosen, full = _pane("Chosen decoding"), _pane("Full model, the same prompt")
    way.change(_shown_for, way, [exit, exits, threshold], api_visibility="private",
               show_progress="hidden")  # fmt: skip
    running = gr.on(
        [start.click, prompt.submit], partial(_write, prompter),
        [prompt, way, exit, exits, threshold, new, warmth], [chosen, full],
        api_name="write", show_progress="hidden", **ONE_AT_A_TIME,
    )  # fmt: skip
    stop.click(None, cancels=[running], api_visibility="private")


def _pane(heading: str) -> Any:
    gr.HTML(escape(heading), elem_classes=["heading"])
    return gr.HTML(elem_classes=["pane"], apply_default_css=False)


def _shown_for(way: str) -> list[Any]:
    confident = way == "confident"
    return [gr.update(visible=shown) for shown in (way in ("exit", "speculative"), confident,
                                                   confident)]  # fmt: skip


def _write(
    prompter: Prompter, prompt: str, way: str, exit: int, exits: list[int], threshold: float,
    new: float, warmth: float,
) -> Iterator[tuple[str, str]]:  # fmt: skip
    yield from prompter.write(prompt, way, exit or None, exits, threshold, int(new), float(warmth))


def _chart_tab(asker: ChartAsker, examples: list[ChartExample]) -> None:
    current = gr.State(None)
    with gr.Row():
        with gr.Column(scale=5, min_width=380):
            file = gr.File(label="Drop a picture of a chart", file_types=["image"], height=140)
            gr.HTML("Or choose a test chart; the last picture shows none", elem_classes=["heading"])
            gallery = gr.Gallery(
                [one.picture for one in examples], label="Examples", show_label=False,
                columns=4, height=240, allow_preview=False, interactive=False, object_fit="contain",
                format="png", buttons=[],
            )  # fmt: skip
            question = gr.Textbox(label="Question", placeholder="Which year has the highest value?")
            kind = gr.Radio(list(ASKED), value=next(iter(ASKED)), label="Answer")
            ask = gr.Button("Ask", variant="primary")
        with gr.Column(scale=7, min_width=480):
            picture = gr.Image(
                label="What was found",
                show_label=False,
                interactive=False,
                format="png",
                height=320,
                buttons=[],
            )
            reply = _pane("Answer")
            with gr.Row():
                with gr.Column(min_width=220):
                    table = _pane("Table")
                with gr.Column(min_width=220):
                    elements = _pane("Elements")
    found = [current, picture, table, elements, reply]
    progress: dict[str, Any] = {"show_progress": "hidden", **ONE_AT_A_TIME}

    def choose(event: gr.SelectData) -> Iterator[tuple[Any, ...]]:
        one = examples[event.index]
        for shown in _found(asker, one.picture):
            yield *shown, one.question

    file.upload(partial(_read, asker), file, found, api_name="read", **progress)
    file.clear(lambda: (None, None, "", "", ""), None, found, api_visibility="private")
    gallery.select(choose, None, [*found, question], api_visibility="private", **progress)
    gr.on([ask.click, question.submit], asker.answer, [current, kind, question], reply,
          api_name="ask", **progress)  # fmt: skip


def _read(asker: ChartAsker, file: str | None) -> Iterator[tuple[Any, ...]]:
    """What is found in a picture that was dropped; what is wrong is said where the table would be.

    Yields:
        The picture for later questions, the one with elements on it, HTML of its table and its
        elements, and no answer yet.
    """
    try:
        if file is None:
            raise BadInput("there is no picture", remedy="drop a chart")
        picture = open_picture(file, Path(file).name)
    except BadInput as error:
        yield None, None, notice(str(error)), "", ""
        return
    yield from _found(asker, picture)


def _found(asker: ChartAsker, picture: Image.Image) -> Iterator[tuple[Any, ...]]:
    for page, table, elements in asker.read(picture):
        yield picture, gr.skip() if page is None else page, table, elements, ""
