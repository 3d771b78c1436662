"""What we take for granted of vLLM, named one by one, so that a new version says what it changed."""

import importlib.util
import inspect
from importlib.metadata import entry_points

import pytest

from rewardkit.server import vllm_implicit
from rewardkit.server.engine import _entry_module
from rewardkit.server.vllm_plugin import RewardKitPlugin, endpoint_plugin

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_the_plugin_is_found_and_fits_the_protocol():
    from vllm.plugins import ENDPOINT_PLUGINS_GROUP
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin
    from vllm.tasks import POOLING_TASKS

    (point,) = entry_points(group=ENDPOINT_PLUGINS_GROUP, name="rewardkit")
    assert isinstance(point.load()(), RewardKitPlugin)
    assert isinstance(endpoint_plugin(), EndpointPlugin)
    assert set(RewardKitPlugin.required_tasks) <= set(POOLING_TASKS)


def test_the_engine_is_called_as_it_wants():
    from vllm.config import ModelConfig
    from vllm.engine.protocol import EngineClient
    from vllm.inputs import TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.outputs import PoolingRequestOutput
    from vllm.pooling_params import PoolingParams

    assert list(inspect.signature(EngineClient.encode).parameters)[1:4] == ["prompt", "pooling_params", "request_id"]
    assert "lora_request" in inspect.signature(EngineClient.encode).parameters
    assert LoRARequest("a", 1, "/a").lora_name == "a"
    assert isinstance(EngineClient.errored, property) and callable(ModelConfig.get_vocab_size)
    assert "prompt_token_ids" in TokensPrompt.__annotations__
    assert PoolingParams(task="token_classify", use_activation=False).use_activation is False
    given = inspect.signature(PoolingRequestOutput).parameters
    assert {"outputs", "num_cached_tokens", "finished"} <= given.keys()


def test_the_implicit_model_is_found_and_stands_on_what_vllm_has():
    from vllm.model_executor.layers.pooler import PoolingParamsUpdate
    from vllm.model_executor.layers.pooler.abstract import Pooler
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
    from vllm.model_executor.models.utils import init_vllm_registered_model
    from vllm.pooling_params import PoolingParams
    from vllm.v1.pool.metadata import PoolingCursor, PoolingMetadata, PoolingStates

    (point,) = entry_points(group="vllm.general_plugins", name="rewardkit")
    assert point.load() is vllm_implicit.register
    assert vllm_implicit.ImplicitModel.is_pooling_model
    assert Pooler.__abstractmethods__ == {"forward", "get_supported_tasks"}
    assert PoolingParamsUpdate(requires_token_ids=True).requires_token_ids
    assert {"model_or_path", "revision", "prefix"} <= DefaultModelLoader.Source.__dataclass_fields__.keys()
    assert {"prefix", "hf_config", "architectures"} <= inspect.signature(init_vllm_registered_model).parameters.keys()
    assert PoolingParams(extra_kwargs={"start": 3}).extra_kwargs == {"start": 3}
    assert {"num_scheduled_tokens_cpu", "seq_lens_cpu"} <= PoolingCursor.__dataclass_fields__.keys()
    assert callable(PoolingMetadata.get_prompt_token_ids_cpu) and callable(PoolingCursor.get_finished_mask)
    assert PoolingStates().hidden_states_cache == []


def test_client_errors_have_one_base():
    from vllm.exceptions import VLLMClientError, VLLMValidationError

    assert issubclass(VLLMValidationError, VLLMClientError)


def test_the_server_module_and_its_flags_are_there():
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    assert importlib.util.find_spec(_entry_module()) is not None
    flags = ["--model", "x", "--runner", "pooling", "--served-model-name", "x", "--host", "127.0.0.1", "--port", "1"]
    flags += ["--dtype", "float32", "--max-model-len", "9", "--allowed-origins", "[]", "--block-size", "32"]
    args = make_arg_parser(FlexibleArgumentParser()).parse_args([*flags, "--enforce-eager"])
    assert args.allowed_origins == [] and args.served_model_name == ["x"] and args.tokenizer is None
