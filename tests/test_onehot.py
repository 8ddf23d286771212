from __future__ import annotations

import numpy as np
import pytest

from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.onehot import decode, encode, one_hot, one_hot_tensor, reverse_complement_codes


def test_encode_takes_both_cases_and_turns_everything_else_into_four():
    assert encode("ACGTacgt").tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert encode("NnRYSWKMBDHVU-* .").tolist() == [4] * 17
    assert encode(b"TtNA").tolist() == [3, 3, 4, 0]
    assert encode("").shape == (0,)


def test_encode_keeps_the_length_of_text_that_is_not_ascii():
    assert encode("AéT").tolist() == [0, 4, 3]


def test_encode_result_is_writable_and_does_not_touch_its_input():
    text = b"ACGT"
    codes = encode(text)
    codes[0] = 4
    assert text == b"ACGT"
    assert encode(text)[0] == 0


def test_decode_inverts_encode_up_to_case_and_n():
    assert decode(encode("acgtRNT")) == "ACGTNNT"
    assert decode(np.array([0, 200, 3], dtype=np.uint8)) == "ANT"


def test_decode_wants_one_sequence_of_uint8():
    with pytest.raises(ChromTransferError, match="2-D"):
        decode(np.zeros((2, 3), dtype=np.uint8))
    with pytest.raises(ChromTransferError, match="int64"):
        decode(np.zeros(3, dtype=np.int64))


def test_one_hot_of_every_code():
    first = one_hot(encode("ACGTN"))
    expected = np.array(
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=np.float32
    )
    np.testing.assert_array_equal(first, expected)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(one_hot(encode("ACGTN"), "channels_last"), expected.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, bool])
@pytest.mark.parametrize("shape", [(7,), (3, 600), (2, 3, 5), (0, 600), (4, 0)])
def test_layouts_are_transposes_of_the_eye_rows(shape, dtype):
    codes = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)  # 5..255 count as N
    rows = np.vstack([np.eye(4), np.zeros((252, 4))]).astype(dtype)
    last = one_hot(codes, "channels_last", dtype)
    np.testing.assert_array_equal(last, rows[codes])
    np.testing.assert_array_equal(one_hot(codes, "channels_first", dtype), np.swapaxes(rows[codes], -1, -2))
    assert last.dtype == dtype


def test_one_hot_of_a_strided_view():
    codes = np.random.default_rng(0).integers(0, 5, (6, 20), dtype=np.uint8)
    for layout in ("channels_first", "channels_last"):
        np.testing.assert_array_equal(
            one_hot(codes[::2, ::-3], layout), one_hot(codes[::2, ::-3].copy(), layout)
        )


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_writing_into_an_array_overwrites_all_of_it(layout, dtype):
    codes = np.random.default_rng(0).integers(0, 5, (300, 600), dtype=np.uint8)  # more than one chunk
    expected = one_hot(codes, layout)
    buffer = np.full_like(expected, 7, dtype=dtype)
    assert one_hot(codes, layout, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, expected)
    np.testing.assert_array_equal(expected, np.stack([one_hot(row, layout) for row in codes]))


def test_writing_into_a_wrong_array_is_refused():
    codes = encode("ACGT")
    with pytest.raises(ChromTransferError, match=r"\(3, 4\)"):
        one_hot(codes, out=np.empty((3, 4)))
    with pytest.raises(ChromTransferError, match="C-contiguous"):
        one_hot(codes, out=np.empty((4, 4)).T)


def test_one_hot_refuses_other_layouts_and_types():
    with pytest.raises(ChromTransferError, match="channels_first"):
        one_hot(encode("A"), "NCL")
    with pytest.raises(ChromTransferError, match="float64"):
        one_hot(np.zeros(3))
    with pytest.raises(ChromTransferError, match="0-D"):
        one_hot(np.uint8(1))


def test_reverse_complement_by_hand_and_twice():
    assert decode(reverse_complement_codes(encode("AACGTN"))) == "NACGTT"
    codes = np.random.default_rng(0).integers(0, 5, (4, 31), dtype=np.uint8)
    np.testing.assert_array_equal(reverse_complement_codes(reverse_complement_codes(codes)), codes)


def test_reverse_complement_flips_both_axes_of_the_one_hot():
    codes = np.random.default_rng(1).integers(0, 5, (4, 31), dtype=np.uint8)
    np.testing.assert_array_equal(one_hot(reverse_complement_codes(codes)), one_hot(codes)[:, ::-1, ::-1])


def test_tensor_form_equals_numpy_form():
    torch = pytest.importorskip("torch")
    codes = np.random.default_rng(0).integers(0, 6, (5, 33), dtype=np.uint8)
    tensor = one_hot_tensor(torch.from_numpy(codes))
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor.numpy(), one_hot(codes))
    half = one_hot_tensor(torch.from_numpy(codes), dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    np.testing.assert_array_equal(half.float().numpy(), one_hot(codes))


@pytest.mark.gpu
def test_tensor_form_stays_on_the_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    codes = np.random.default_rng(0).integers(0, 5, (64, 600), dtype=np.uint8)
    tensor = one_hot_tensor(torch.from_numpy(codes).cuda())
    assert tensor.is_cuda
    np.testing.assert_array_equal(tensor.cpu().numpy(), one_hot(codes))
