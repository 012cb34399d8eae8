// What libtorch can do and tch has no name for. Every function gives null, or a
// message that the caller frees with cellway_free.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include <ATen/Context.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adagrad.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/csrc/autograd/custom_function.h>

namespace {

template <typename Work>
char *guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown error");
  }
}

std::vector<at::Tensor> list(void *const *tensors, size_t count) {
  std::vector<at::Tensor> all;
  all.reserve(count);
  for (size_t n = 0; n < count; n++) {
    all.push_back(*static_cast<at::Tensor *>(tensors[n]));
  }
  return all;
}

// The way back through a function that was computed elsewhere: fills `results`, one
// for each input, null where none is asked for, from the gradients of the outputs,
// null where there is none. Gives whether it could; else `message` says why not.
using Backward = bool (*)(void *const *saved, size_t saved_count,
                          void *const *gradients, size_t gradient_count,
                          void *const *results, size_t result_count,
                          char *message, size_t room);

// What the forward pass leaves; in a struct, so that libtorch takes it for no input.
struct Computed {
  torch::autograd::variable_list outputs, kept;
  Backward backward;
};

struct Node : torch::autograd::Function<Node> {
  using Tensors = torch::autograd::variable_list;

  static Tensors forward(torch::autograd::AutogradContext *context,
                         at::TensorList inputs, const Computed &computed) {
    auto saved = inputs.vec();
    saved.insert(saved.end(), computed.kept.begin(), computed.kept.end());
    context->save_for_backward(saved);
    context->saved_data["inputs"] = static_cast<int64_t>(inputs.size());
    context->saved_data["backward"] =
        static_cast<int64_t>(reinterpret_cast<intptr_t>(computed.backward));
    context->set_materialize_grads(false);
    return computed.outputs;
  }

  static Tensors backward(torch::autograd::AutogradContext *context,
                          Tensors gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "the native engine has no gradients of gradients; use engine plain");
    auto saved = context->get_saved_variables();
    const auto inputs = context->saved_data["inputs"].toInt();
    const auto backward = reinterpret_cast<Backward>(
        static_cast<intptr_t>(context->saved_data["backward"].toInt()));
    Tensors results(inputs);
    std::vector<void *> from, given, to;
    for (auto &tensor : saved) {
      from.push_back(&tensor);
    }
    for (auto &tensor : gradients) {
      given.push_back(tensor.defined() ? &tensor : nullptr);
    }
    for (int64_t n = 0; n < inputs; n++) {
      if (context->needs_input_grad(n)) {
        results[n] = at::empty_like(saved[n]);
      }
      to.push_back(results[n].defined() ? &results[n] : nullptr);
    }
    char message[512] = "";
    const bool well =
        backward(from.data(), from.size(), given.data(), given.size(), to.data(),
                 to.size(), message, sizeof message);
    TORCH_CHECK(well, message);
    results.emplace_back(); // of `computed`, which libtorch counts, too
    return results;
  }
};

} // namespace

extern "C" {

bool cellway_records_gradients() { return at::GradMode::is_enabled(); }

// Gives outputs that were computed from inputs their place in the graph; `results`
// takes new tensors, the outputs.
char *cellway_node(void *const *inputs, size_t input_count, void *const *outputs,
                   size_t output_count, void *const *kept, size_t kept_count,
                   Backward backward, void **results) {
  return guarded([&] {
    Computed computed{list(outputs, output_count), list(kept, kept_count), backward};
    auto from = list(inputs, input_count);
    // As a TensorList: of a vector libtorch would not see that tensors are in it.
    auto made = Node::apply(at::TensorList(from), computed);
    for (size_t n = 0; n < output_count; n++) {
      results[n] = new at::Tensor(made[n]);
    }
  });
}

void cellway_free(char *message) { free(message); }

// A tensor [count] of f32, or f64 if `wide`, over this memory; `release` gets it back
// when nobody has the tensor any more.
char *cellway_tensor_over(void *memory, int64_t count, bool wide,
                          void (*release)(void *), void **result) {
  return guarded([&] {
    const auto options = at::TensorOptions().dtype(wide ? at::kDouble : at::kFloat);
    *result = new at::Tensor(at::from_blob(memory, {count}, release, options));
  });
}

// Where a tensor of f32, or f64 if `wide`, on the CPU has its first element, and how many elements its
// shape and strides reach over; null and 0 if it has none.
char *cellway_memory(const void *tensor, bool wide, void **start, int64_t *reach) {
  return guarded([&] {
    const auto &of = *static_cast<const at::Tensor *>(tensor);
    *start = nullptr;
    *reach = 0;
    if (!of.defined() || of.numel() == 0) {
      return;
    }
    TORCH_CHECK(of.is_cpu() && of.scalar_type() == (wide ? at::kDouble : at::kFloat),
                "a tensor of another dtype or device than was asked for");
    for (int64_t n = 0; n < of.dim(); n++) {
      *reach += (of.size(n) - 1) * of.stride(n);
    }
    *reach += 1;
    *start = of.data_ptr();
  });
}

// Calls `work` with every number below `count`, on libtorch's own threads: a second
// pool of threads would fight with it for the cores. (at::parallel_for itself is made
// of OpenMP pragmas in a header, and would bring a second OpenMP.)
char *cellway_in_parallel(size_t count, void (*work)(const void *, size_t),
                          const void *context) {
  return guarded([&] {
    at::NoGradGuard guard;
    auto numbers = at::arange(static_cast<int64_t>(count), at::kLong);
    auto each = at::TensorIterator::nullary_op(numbers);
    each.for_each(
        [&](char **data, const int64_t *strides, int64_t size) {
          for (int64_t n = 0; n < size; n++) {
            work(context, *reinterpret_cast<int64_t *>(data[0] + n * strides[0]));
          }
        },
        1);
  });
}

// One step of an optimizer for all parameters in one call. `memory` holds the first
// thing that is remembered of each parameter, then the second of each, as many as
// the optimizer has. `steps` counts this step, one number for each parameter.
char *cellway_fused_step(int optimizer, size_t count, void *const *parameters,
                         void *const *gradients, size_t memories,
                         void *const *memory, void *const *steps, double rate,
                         double weight_decay, double first, double second,
                         double epsilon, bool nesterov) {
  return guarded([&] {
    auto p = list(parameters, count), g = list(gradients, count);
    auto t = list(steps, count);
    auto m = list(memory, memories > 0 ? count : 0);
    auto v = list(memory + count, memories > 1 ? count : 0);
    switch (optimizer) {
    case 0:
      at::_fused_adam_(p, g, m, v, {}, t, rate, first, second, weight_decay,
                       epsilon, false, false);
      break;
    case 1:
      at::_fused_adamw_(p, g, m, v, {}, t, rate, first, second, weight_decay,
                        epsilon, false, false);
      break;
    case 2:
      at::_fused_sgd_(p, g, m, weight_decay, first, rate, 0.0, nesterov, false,
                      false);
      break;
    case 3:
      at::_fused_adagrad_(p, g, m, t, rate, 0.0, weight_decay, epsilon, false);
      break;
    default:
      TORCH_CHECK(false, "no fused optimizer has the number ", optimizer);
    }
  });
}

// As torch.use_deterministic_algorithms: an operation that cannot is an error.
char *cellway_deterministic() {
  return guarded([] {
    auto &context = at::globalContext();
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicAlgorithms(true, false);
    context.setDeterministicFillUninitializedMemory(false);
  });
}

// The most bytes that tensors on a CUDA device had together.
char *cellway_peak_memory(int device, int64_t *bytes) {
  return guarded([&] {
    auto *allocator = at::getDeviceAllocator(c10::kCUDA);
    auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.allocated_bytes[0].peak;
  });
}
}
