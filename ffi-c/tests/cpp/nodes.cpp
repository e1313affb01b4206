// Nodes: what is sent, read in loops, awaited, refused and moved.
#include "check.hpp"

using namespace std::chrono_literals;
using peernet::Errc;
using peernet::Event;
using peernet::EventType;
using peernet::Mesh;
using peernet::Options;
using peernet::pack;

static void messages() {
  Mesh a, b;
  const std::string id = b.connect(a.address());
  CHECK(id == a.id() && a.protocol() == b.protocol() && !a.listening().empty());
  await(a, EventType::connected, [&](const Event &event) { CHECK(event.peer() == b.id()); });
  CHECK(a.peers().size() == 1 && a.peers()[0].id == b.id() && !a.peers()[0].outgoing);
  CHECK(b.peers()[0].outgoing && b.peers()[0].address == a.address());

  const peernet::Report report = b.broadcast("hello", 5);
  CHECK(report.links == 1);
  await(a, EventType::message, [&](const Event &event) {
    CHECK(event.peer() == b.id() && !event.is_whisper() && event.verified() && event.code() == 0);
    CHECK(event.id() == report.id && event.time() > std::chrono::system_clock::time_point());
    CHECK((event.payload().read<std::string, int>() == std::make_tuple("hello", 5)));
    a.reply(event, std::vector<int>{1, 2}, nullptr);
  });
  await(b, EventType::message, [&](const Event &event) {
    CHECK(event.is_whisper() && event.peer() == id);
    CHECK((event.payload().read<std::vector<int>>() == std::vector<int>{1, 2}));
  });

  // A batch is a range.
  for (int i = 0; i < 10; i++) b.send(id, i);
  int next = 0;
  while (next < 10)
    for (const Event &event : a.poll(64, 60s))
      if (event.is_message()) CHECK(event.payload().read<int>() == next++);
  CHECK(a.poll(64, peernet::no_wait).empty());
  CHECK(a.stats().at("delivered") == a.stat("delivered"));
  CHECK(thrown([&] { a.stat("no such"); }) == Errc::argument);
  b.disconnect(id);
  await(a, EventType::disconnected, [&](const Event &event) { CHECK(!event.reason().empty() && !event.text().empty()); });
}

// The loops end when the node is closed, and what was not read in one is there for the next.
static void loops() {
  Mesh a, b;
  b.connect(a.address());
  for (int i = 0; i < 6; i++) b.broadcast(i);
  int seen = 0;
  for (const Event &event : a) {
    if (!event.is_message()) continue;
    CHECK(event.payload().read<int>() == seen++);
    if (seen == 3) break;
  }
  for (const Event &event : a.messages()) {
    CHECK(event.payload().read<int>() == seen++);
    if (seen == 6) break;
  }
  std::thread closes([&] {
    b.broadcast("last");
    await(b, EventType::disconnected);
  });
  for (const Event &event : a.messages()) {
    CHECK(event.payload().read<std::string>() == "last");
    a.close();
  }
  closes.join();
  CHECK(thrown([&] { a.close(); }) == Errc::closed);
  for (const Event &event : a) CHECK(event.peer() == "nobody");
}

// A queue that overflows says so, and then goes on.
static void lagging() {
  Mesh a(Options().queue(4)), b;
  b.connect(a.address());
  await(a, EventType::connected);
  for (int i = 0; i < 100; i++) b.broadcast(i);
  b.send(a.id(), "x");
  while (a.stat("lagged") == 0) std::this_thread::yield();
  CHECK(thrown([&] {
          for (const Event &event : a.messages()) (void)event;
        }) == Errc::lagged);
}

static void errors() {
  Mesh mesh;
  CHECK(thrown([&] { mesh.connect("nowhere"); }) == Errc::address);
  CHECK(thrown([&] { mesh.connect(std::string("127.0.0.1:1\0:5", 14)); }) == Errc::argument);
  CHECK(thrown([&] { mesh.send("not an id", 1); }) == Errc::id);
  CHECK(thrown([&] { mesh.broadcast_as(5, "x"); }) == Errc::code);
  CHECK(thrown([&] { mesh.want(peernet::Want::changes); }) == Errc::no_table);
  CHECK(thrown([] { Mesh wrong(Options().encryption("rot13")); }) == Errc::unsupported);
  CHECK(thrown([] { Mesh wrong(Options().listen("127.0.0.1:0").connect("nowhere")); }) == Errc::address);
  CHECK(thrown([&] { mesh.broadcast("\xff"); }) == Errc::argument);

  // They are those of the standard library too.
  try {
    mesh.broadcast_as(5, "x");
    CHECK(false);
  } catch (const std::system_error &error) {
    CHECK(error.code().category() == peernet::error_category());
    CHECK(error.code().message() == "code");
    CHECK(std::string(error.what()) != "code");
  }
  CHECK(peernet::make_error_code(Errc::timed_out) == std::errc::timed_out);
  CHECK(peernet::make_error_code(Errc::closed) != std::errc::timed_out);
}

// What does not throw tells the same.
static void nothrow() {
  peernet::Result<Mesh> wrong = Mesh::open(std::nothrow, Options().encryption("rot13"));
  CHECK(!wrong && wrong.error() == Errc::unsupported && !wrong.message().empty());
  peernet::Result<Mesh> opened = Mesh::open(std::nothrow);
  CHECK(opened.ok() && !opened.error() && opened.message().empty());
  const Mesh mesh = std::move(opened).value();
  CHECK(mesh.connect(std::nothrow, "nowhere").error() == Errc::address);
  CHECK(mesh.disconnect(std::nothrow, "not an id").error() == Errc::id);
  CHECK(mesh.broadcast(std::nothrow, "hello", 5)->links == 0);
  CHECK(mesh.broadcast(std::nothrow, pack("hello"), peernet::no_wait).ok());
  CHECK(mesh.broadcast(std::nothrow, "\xff").error() == Errc::argument);
  CHECK(mesh.send(std::nothrow, "not an id", 1).error() == Errc::id);
  CHECK(mesh.poll(std::nothrow, 64, peernet::no_wait)->empty());
  CHECK(mesh.poll(std::nothrow, 0).error() == Errc::argument);
  CHECK(*mesh.id(std::nothrow) == mesh.id());
  CHECK(mesh.flush(std::nothrow).ok());
  CHECK(mesh.close(std::nothrow).ok());
  CHECK(mesh.close(std::nothrow).error() == Errc::closed);
  CHECK(mesh.peers(std::nothrow).error() == Errc::closed);
  static_assert(noexcept(mesh.connect(std::nothrow, "x")) && noexcept(mesh.broadcast(std::nothrow, 1)) &&
                noexcept(mesh.poll(std::nothrow)) && noexcept(mesh.close(std::nothrow)) &&
                noexcept(Mesh::open(std::nothrow, Options())));
}

static_assert(!std::is_copy_constructible_v<Mesh> && !std::is_copy_assignable_v<Mesh>);
static_assert(std::is_nothrow_move_constructible_v<Mesh> && std::is_nothrow_move_assignable_v<Mesh>);
static_assert(std::is_nothrow_destructible_v<Mesh>);

static void moved() {
  Mesh a;
  const std::string id = a.id();
  Mesh b = std::move(a);
  CHECK(!a && b && b.id() == id);
  CHECK(thrown([&] { a.broadcast(1); }) == Errc::closed);
  CHECK(thrown([&] { a.close(); }) == Errc::closed);
  for (const Event &event : a) CHECK(event.peer() == "nobody");
  CHECK(thrown([&] { a.poll(); }) == Errc::closed);

  // What is assigned to is closed.
  const peernet_mesh before = b.handle();
  b = Mesh();
  CHECK(peernet_mesh_close(before) == PEERNET_ERR_CLOSED);
  CHECK(b.id() != id);
  Mesh &self = b;
  b = std::move(self);
  CHECK(!b.id().empty());
  a = std::move(b);
  CHECK(!a.id().empty() && !b);
  b = nullptr;

  // What is released is its new owner's.
  const peernet_mesh handle = a.release();
  a = Mesh(handle);
  CHECK(!a.id().empty());

  peernet::Batch batch = a.poll(64, peernet::no_wait);
  peernet::Batch other = std::move(batch);
  CHECK(batch.empty() && batch.begin() == batch.end());
}

static void futures() {
  Mesh a, b;
  std::future<std::string> id = b.connect_async(a.address());
  CHECK(id.get() == a.id());
  CHECK(b.send_async(a.id(), pack("x")).get().links == 1);
  b.flush_async().get();
  std::future<std::string> wrong = b.connect_async("nowhere");
  CHECK(thrown([&] { wrong.get(); }) == Errc::address);

  // One that nobody waits for does no harm, nor does a node that goes before its futures.
  (void)b.connect_async(a.address());
  std::future<void> left = b.close_async();
  b = nullptr;
  left.wait();
  std::future<std::string> late;
  {
    Mesh gone;
    late = gone.connect_async(a.address());
  }
  late.wait();
  CHECK(thrown([&] { b.connect_async(a.address()).get(); }) == Errc::closed);
}

int main() {
  messages();
  loops();
  lagging();
  errors();
  nothrow();
  moved();
  futures();
}
