"""The chart model: its size, its resolutions, and generation in batches."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from torch import Tensor, nn

from belvedere.errors import BadInput
from belvedere.submodels.backbone import layers_of
from belvedere.unichart.config import SIZES, ChartModelConfig, DecoderConfig, EncoderConfig
from belvedere.unichart.encoder import AxialBlocks, ChartEncoder
from belvedere.unichart.model import SINE_TEMPERATURE, ChartModel, sines

ENCODER = EncoderConfig(
    embed_dim=16, depths=(2, 2), heads=(2, 4), window=4, stem="conv", drop_path=0.0
)
CONFIG = ChartModelConfig(
    name="test",
    image_size=(48, 64),
    vocab_size=61,
    encoder=ENCODER,
    decoder=DecoderConfig(layers=2, d_model=24, heads=4, ffn=32, max_positions=40),
)
PROMPTS = [[7, 9, 11, 13, 8, 20], [7, 8], [10, 9, 33, 8], [7, 8]]


def made(config: ChartModelConfig = CONFIG, seed: int = 0) -> ChartModel:
    """A random model in eval mode, with weights large enough for its choices to depend on all."""
    torch.manual_seed(seed)
    model = ChartModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def charts(count: int = len(PROMPTS), size: tuple[int, int] = (48, 64), seed: int = 1) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class TestShape:
    def test_base_is_the_201_million_parameters_of_the_paper(self) -> None:
        with torch.device("meta"):
            model = ChartModel(ChartModelConfig.named("base"))
        total = parameters(model)
        # The tied head counts once. The paper rounds down; its own vocabulary is not published.
        assert total == 201_857_144
        assert total // 10**6 == 201
        assert model.head_weight is model.decoder.get_input_embeddings().weight

    def test_named_sizes_take_changes_and_refuse_other_names(self) -> None:
        assert ChartModelConfig.named("tiny", vocab_size=99).vocab_size == 99
        assert ChartModelConfig.named("tiny") == SIZES["tiny"]
        with pytest.raises(BadInput, match="huge; use tiny or base"):
            ChartModelConfig.named("huge")

    @pytest.mark.parametrize("size", [(64, 96), (33, 50)])
    @pytest.mark.parametrize("patch_size", [4, 8, 16])
    def test_the_convolutional_stem_has_the_stride_of_patches(
        self, patch_size: int, size: tuple[int, int]
    ) -> None:
        config = replace(ENCODER, patch_size=patch_size, depths=(2,), heads=(2,))
        for shape in (config, replace(config, stem="patch")):
            stem = ChartEncoder(shape, (64, 64)).swin.patch_embed
            rows, columns = (-(-side // patch_size) for side in size)
            assert stem(charts(1, size)).shape == (1, rows, columns, 16)

    @pytest.mark.parametrize("patch", [(8, 4), (16, 4), (4, 16), (16, 8)])
    def test_tokens_of_a_convolutional_stem_need_not_be_square(
        self, patch: tuple[int, int]
    ) -> None:
        height, width = patch
        shape = replace(ENCODER, patch_size=height, patch_width=width, positions="sine")
        assert shape.stride == (2 * height, 2 * width)
        stem = ChartEncoder(shape, (64, 64)).swin.patch_embed
        rows, columns = -(-33 // height), -(-50 // width)
        assert stem(charts(1, (33, 50))).shape == (1, rows, columns, 16)
        states = made(replace(CONFIG, encoder=shape)).encode(charts(2, (33, 50)))
        assert states.shape[:2] == (2, -(-rows // 2) * -(-columns // 2))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"heads": (2, 4, 8)}, "2 stages have 3"),
            ({"heads": (3, 4)}, "16 does not divide by 3"),
            ({"patch_size": 6}, "tokens of 6 pixels; use a power of two"),
            ({"patch_size": 2}, "tokens of 2 pixels; use a power of two, at least 4"),
            ({"patch_size": 8, "patch_width": 12}, "tokens of 12 pixels; use a power of two"),
            ({"stem": "patch", "patch_width": 4}, "patch_width: only a convolutional stem"),
            ({"axial": 1}, "axial: columns and rows are compared by .*; use positions: sine"),
            ({"axial": -1, "positions": "sine"}, "axial: -1 pairs of blocks; give 0 or more"),
        ],
    )
    def test_impossible_shapes_are_refused(self, change: dict[str, Any], says: str) -> None:
        with pytest.raises(BadInput, match=says):
            replace(ENCODER, **change)

    def test_every_parameter_is_trained(self) -> None:
        model = made(replace(CONFIG, encoder=replace(ENCODER, positions="sine", axial=1))).train()
        model(charts(), torch.tensor(PROMPTS[0]).expand(4, -1)).square().mean().backward()
        left = [name for name, p in model.named_parameters() if p.grad is None]
        heads = ("letters.scores", "axis.scores", "phases.angles")  # they have their own losses
        assert left == [f"{head}.{kind}" for head in heads for kind in ("weight", "bias")]


def all_in_the_middle(part: nn.Module) -> None:
    """Let a `PlaceHead` see everything in the middles of tokens."""
    for parameter in part.parameters():
        parameter.zero_()


class TestAxialBlocks:
    def test_blocks_see_whole_columns_and_whole_rows_in_turn(self) -> None:
        torch.manual_seed(0)
        column, row = AxialBlocks(8, 2, (9, 13), 1).blocks
        states = torch.randn(1, 9, 13, 8)
        other = states.clone()
        other[:, 7, 2] = torch.randn(8)
        with torch.no_grad():
            for block, seeing in ((column, (slice(None), 2)), (row, (7, slice(None)))):
                changed = (block(states) - block(other))[0].abs().sum(-1) > 1e-6
                reached = torch.zeros_like(changed)
                reached[seeing] = True
                assert torch.equal(changed, reached)

    def test_states_are_told_where_they_are(self) -> None:
        torch.manual_seed(0)
        lines = AxialBlocks(8, 2, (3, 5), 1)
        nn.init.eye_(lines.out.weight)
        states = torch.randn(2, 15, 8)
        with torch.no_grad():
            found = [
                lines(states, waves, (3, 5)) for waves in (torch.zeros(15, 8), torch.randn(15, 8))
            ]
        assert found[0].shape == states.shape
        assert not torch.allclose(found[0], found[1], atol=1e-2)

    @pytest.mark.parametrize("size", [(48, 64), (17, 33), (80, 112)])
    def test_pages_of_any_size_will_do(self, size: tuple[int, int]) -> None:
        shape = replace(ENCODER, positions="sine", axial=1)
        model = made(replace(CONFIG, encoder=shape))
        pixels = charts(1, size)
        rows, columns = shape.grid(size)
        with torch.no_grad():
            assert model.encode(pixels).shape == (1, rows * columns, 24)
            model.set_image_size(size)
            assert model.encode(pixels).shape == (1, rows * columns, 24)
        assert model.lines is not None
        tables = [block.attn.relative_position_bias_table for block in model.lines.blocks]
        assert [len(table) for table in tables] == [2 * rows - 1, 2 * columns - 1]
        model.set_image_size(size)
        assert [block.attn.relative_position_bias_table for block in model.lines.blocks] == tables


class TestResolution:
    @pytest.mark.parametrize("size", [(48, 64), (64, 48), (16, 16), (7, 9), (50, 131)])
    @pytest.mark.parametrize("stem", ["conv", "patch"])
    def test_any_resolution_gives_a_state_for_every_eight_pixels(
        self, size: tuple[int, int], stem: Any
    ) -> None:
        encoder = ChartEncoder(replace(ENCODER, stem=stem), (48, 64)).eval()
        states = encoder(charts(2, size))
        rows, columns = (-(-side // 4) for side in size)
        assert states.shape == (2, -(-rows // 2) * -(-columns // 2), ENCODER.hidden)

    @pytest.mark.parametrize("size", [(48, 64), (17, 33)])
    def test_details_have_a_place_for_every_four_pixels(self, size: tuple[int, int]) -> None:
        shape = replace(ENCODER, patch_size=16, stem_width=12, stem_blocks=1)
        encoder = ChartEncoder(shape, (48, 64)).eval()
        pixels = charts(2, size)
        details = encoder.details(pixels)
        assert details.shape == (2, 12, -(-size[0] // 4), -(-size[1] // 4))
        assert torch.equal(encoder(pixels, details), encoder(pixels))

    def test_states_know_their_place_where_positions_are_wanted(self) -> None:
        blank = torch.zeros(1, 3, 16, 24)
        shape = replace(ENCODER, depths=(2,), heads=(2,), patch_size=8)
        plain, placed = (
            made(replace(CONFIG, encoder=replace(shape, positions=positions)))
            for positions in ("none", "sine")
        )
        assert not placed.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
        assert placed.places is not None
        placed.places.requires_grad_(False).apply(all_in_the_middle)
        with torch.no_grad():
            states, found = plain.encode(blank), placed.encode(blank)
        normed = torch.nn.functional.layer_norm(states, (24,))
        places = (found - normed)[0].unflatten(0, (2, 3))
        places[..., :2] = 0  # coordinates
        # A quarter each of sines and cosines of the rows, then of the columns.
        waves = places.unflatten(-1, (2, 2, 6))
        rows, columns = waves[..., 0, :], waves[..., 1, :]
        rows, columns = rows.flatten(2), columns.flatten(2)
        assert torch.allclose(rows[:, 0], rows[:, 2], atol=1e-5)
        assert torch.allclose(columns[0], columns[1], atol=1e-5)
        assert not torch.allclose(rows[0], rows[1], atol=1e-2)
        assert not torch.allclose(columns[:, 0], columns[:, 1], atol=1e-2)

    def test_sines_of_the_middles_of_tokens_are_timms(self) -> None:
        rows, columns = torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
        middles = torch.stack([columns, rows], -1).flatten(0, 1) + 0.5
        found = build_sincos2d_pos_embed([3, 5], 24, SINE_TEMPERATURE)
        assert torch.allclose(sines(middles, 24), found, atol=1e-6)

    def test_states_say_where_on_the_page_their_tokens_are(self) -> None:
        shape = replace(ENCODER, depths=(2,), heads=(2,), patch_size=8, positions="sine")
        model, pixels = made(replace(CONFIG, encoder=shape)), charts(2, size=(20, 24))
        assert model.places is not None
        model.places.requires_grad_(False).apply(all_in_the_middle)
        with torch.no_grad():
            places = model.pixels_of(model.encode(pixels), (20, 24)).unflatten(1, (3, 3))
            middles = torch.tensor([4.0, 12.0, 20.0])
            assert torch.allclose(places[..., 0], middles.expand(2, 3, 3), atol=1e-4)
            assert torch.allclose(places[..., 1], middles[:, None].expand(2, 3, 3), atol=1e-4)
            # To the right and up, within the token.
            model.places.offset.bias.copy_(torch.tensor([100.0, -100.0]))
            moved = model.pixels_of(model.encode(pixels), (20, 24)).unflatten(1, (3, 3))
        assert torch.allclose(moved - places, torch.tensor([4.0, -4.0]), atol=1e-4)

    def test_another_image_size_changes_no_state(self) -> None:
        model, pixels, other = made(), charts(), charts(size=(80, 72))
        with torch.no_grad():
            before, before_other = model.encode(pixels), model.encode(other)
            model.set_image_size((80, 72))
            assert torch.equal(model.encode(pixels), before)
            assert torch.equal(model.encode(other), before_other)
        assert model.config.image_size == (80, 72)
        assert model.config.encoder.window == 4

    def test_another_window_interpolates_the_tables(self) -> None:
        model = made()
        table = "encoder.swin.layers.0.blocks.0.attn.relative_position_bias_table"
        before = model.state_dict()[table].clone()
        model.set_image_size((96, 128), window=6)
        after = model.state_dict()[table]
        assert after.shape == (11 * 11, 2)
        assert before.min() <= after.min() < after.max() <= before.max() * 1.5
        assert model.encode(charts(1, (96, 128))).shape == (1, 12 * 16, 24)
        assert model.config.encoder.window == 6

    def test_opposite_edges_do_not_see_each_other(self) -> None:
        """Shifted windows wrap around; where tokens are padded, the mask has to know."""
        model = made(replace(CONFIG, encoder=replace(ENCODER, depths=(2,), heads=(2,))))
        pixels = charts(1, (76, 64))  # 19 x 16 tokens, windows of 4
        other = pixels.clone()
        other[:, :, -4:] += 5
        with torch.no_grad():
            difference = (model.encode(pixels) - model.encode(other)).abs().amax(-1)[0]
        rows = difference.unflatten(0, (19, 16)).amax(1)
        assert rows[0] == 0
        assert rows[-1] > 0


class TestGeneration:
    @pytest.mark.parametrize("beams", [1, 4])
    def test_a_batch_of_unequal_prompts_answers_as_each_alone(self, beams: int) -> None:
        model, pixels = made(), charts()
        together = model.generate(pixels, PROMPTS, max_new_tokens=12, num_beams=beams)
        for i, prompt in enumerate(PROMPTS):
            alone = model.generate(pixels[i : i + 1], [prompt], max_new_tokens=12, num_beams=beams)
            assert together.tokens()[i] == alone.tokens()[0]
            torch.testing.assert_close(together.total[i], alone.total[0])
            torch.testing.assert_close(together.confidence[i], alone.confidence[0])

    def test_greedy_search_is_the_argmax_of_the_logits(self) -> None:
        model, pixels = made(), charts()
        answers = model.generate(pixels, PROMPTS, max_new_tokens=8, num_beams=1, forbidden=())
        for i, prompt in enumerate(PROMPTS):
            text, total = list(prompt), 0.0
            for token in answers.tokens()[i]:
                with torch.no_grad():
                    logits = model(pixels[i : i + 1], torch.tensor([text]))[0, -1]
                assert token == logits.argmax()
                total += float(logits.log_softmax(-1)[token])
                text.append(token)
            assert float(answers.total[i]) == pytest.approx(total, abs=1e-4)

    def test_answers_depend_on_the_chart(self) -> None:
        answers = made(seed=3).generate(charts(8), [[7, 8]] * 8, max_new_tokens=8)
        assert len({tuple(tokens) for tokens in answers.tokens()}) > 1

    @pytest.mark.parametrize("beams", [1, 4])
    def test_unk_is_never_generated(self, beams: int) -> None:
        model, pixels = made(), charts()
        free = model.generate(pixels, PROMPTS, max_new_tokens=12, num_beams=beams, forbidden=())
        liked = free.tokens()[0][0]
        model.config = replace(model.config, unk_id=liked)
        answers = model.generate(pixels, PROMPTS, max_new_tokens=12, num_beams=beams)
        assert all(liked not in tokens for tokens in answers.tokens())

    def test_states_can_be_given_in_place_of_pixels(self) -> None:
        model, pixels = made(), charts()
        with torch.no_grad():
            states = model.encode(pixels)
            ids = torch.tensor(PROMPTS[0]).expand(4, -1)
            assert torch.equal(model(states, ids), model(pixels, ids))
        answers = model.generate(states, PROMPTS, max_new_tokens=6)
        assert answers.tokens() == model.generate(pixels, PROMPTS, max_new_tokens=6).tokens()

    def test_an_answer_ends_with_its_end_token_and_padding_has_no_probability(self) -> None:
        model = made()
        free = model.generate(charts(), PROMPTS, max_new_tokens=12, num_beams=1)
        end = free.tokens()[0][3]
        model.config = replace(model.config, eos_id=end)
        answers = model.generate(charts(), PROMPTS, max_new_tokens=12, num_beams=1)
        first = answers.tokens()[0]
        assert first == free.tokens()[0][: first.index(end) + 1]
        assert (answers.ids[~answers.mask] == model.config.pad_id).all()
        assert (answers.log_probs[~answers.mask] == 0).all()
        assert ((answers.confidence > 0) & (answers.confidence < 1)).all()

    def test_padding_on_the_right_changes_no_hidden_state(self) -> None:
        model = made()
        with torch.no_grad():
            states = model.encode(charts(1))
            ids = torch.tensor([PROMPTS[0]])
            padded = torch.cat([ids, torch.full((1, 3), model.config.pad_id)], 1)
            mask = (torch.arange(9) < 6).long()[None]
            hidden = model.decode(states, padded, mask)[:, :6]
            torch.testing.assert_close(hidden, model.decode(states, ids))

    def test_what_all_states_share_does_not_drown_gradients_in_bfloat16(self) -> None:
        model = made()
        shared = 30 * torch.randn(1, 1, 24, generator=torch.Generator().manual_seed(5))
        states = torch.randn(2, 12, 24, generator=torch.Generator().manual_seed(6)) + shared
        ids = torch.tensor([PROMPTS[0], PROMPTS[2] + [5, 6]])
        found = []
        for half in (False, True):
            model.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                keys = model.keys_of(states)
                (hidden,) = model.decode_about([2], keys, torch.arange(2), ids)
            hidden.float()[..., 0].sum().backward()
            layers: Any = layers_of(model.decoder)
            grads = [layer.encoder_attn.q_proj.weight.grad.flatten() for layer in layers]
            found.append(torch.cat(grads))
        assert torch.cosine_similarity(*found, dim=0) > 0.95

    @pytest.mark.parametrize(
        ("prompts", "new", "says"),
        [
            ([[7, 8]], 4, "4 charts have 1 prompts"),
            ([[7], [], [8], [9]], 4, "a prompt is empty"),
            ([[7] * 30, [7], [8], [9]], 11, "a prompt of 30 and an answer of 11"),
        ],
    )
    def test_unusable_prompts_are_refused(
        self, prompts: list[list[int]], new: int, says: str
    ) -> None:
        with pytest.raises(BadInput, match=says):
            made().generate(charts(), prompts, max_new_tokens=new)
