// What libtorch can do and tch has no name for. Every function gives null, or a
// message that the caller frees with cellway_free.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_fused_adagrad.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <c10/core/CachingDeviceAllocator.h>

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

} // namespace

extern "C" {

void cellway_free(char *message) { free(message); }

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
