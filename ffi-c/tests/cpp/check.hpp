// What the tests in C++ have in common.
#ifndef CHECK_HPP
#define CHECK_HPP

#include <cstdlib>
#include <iostream>
#include <peernet.hpp>

// Ends the test if it does not hold.
#define CHECK(condition)                                                                              \
  do {                                                                                                \
    if (!(condition)) {                                                                               \
      std::cerr << __FILE__ << ':' << __LINE__ << ": " << #condition << '\n';                         \
      std::exit(1);                                                                                   \
    }                                                                                                 \
  } while (false)

// What a call throws; a code that is false if it throws nothing.
template <class F>
std::error_code thrown(F &&call) {
  try {
    call();
  } catch (const peernet::Error &error) {
    CHECK(*error.what() != '\0');
    return error.code();
  }
  return {};
}

// The next event of this type. Far longer than any takes; whoever waits for it has failed.
template <class F>
void await(const peernet::Mesh &mesh, peernet::EventType type, F &&use) {
  for (;;) {
    const peernet::Batch batch = mesh.poll(1, std::chrono::seconds(60));
    CHECK(batch);
    if (batch[0].type() == type) return use(batch[0]);
  }
}

inline void await(const peernet::Mesh &mesh, peernet::EventType type) {
  await(mesh, type, [](const peernet::Event &) {});
}

#endif  // CHECK_HPP
