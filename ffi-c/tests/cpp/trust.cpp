// Identities, joining rules, and functions that the library calls.
#include "check.hpp"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <stdexcept>

#include <sys/socket.h>

using namespace std::chrono_literals;
using peernet::Errc;
using peernet::Event;
using peernet::EventType;
using peernet::Mesh;
using peernet::Options;
using peernet::pack;

// What callbacks tell, on whichever thread and however often. It is there for longer than the nodes that have them.
template <class T>
class Told {
 public:
  void operator()(T what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    all_.push_back(std::move(what));
    more_.notify_one();
  }
  // Waits for it.
  T next() {
    std::unique_lock<std::mutex> lock(mutex_);
    more_.wait(lock, [&] { return !all_.empty(); });
    T what = std::move(all_.front());
    all_.pop_front();
    return what;
  }
  // Takes what a callback throws.
  peernet::ExceptionHandler thrown() {
    return [this](std::exception_ptr thrown) {
      try {
        std::rethrow_exception(thrown);
      } catch (const std::exception &error) {
        (*this)(error.what());
      }
    };
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<T> all_;
};

static void identities(const std::filesystem::path &folder) {
  const std::string identity = peernet::new_identity(), secret = peernet::new_secret();
  const Options options = Options().identity(identity).secret(secret);
  Mesh a(options);
  CHECK(a.identity() == identity && a.id() == peernet::identity_id(identity, a.protocol()));
  CHECK(a.id() == peernet::key_id(peernet::identity_key(identity), a.protocol()));
  CHECK(thrown([] { peernet::identity_key("nonsense"); }) == Errc::identity);
  CHECK(thrown([] { peernet::secret_of("short"); }) == Errc::secret);
  CHECK(!peernet::secret_of(std::array<std::uint8_t, 16>{1, 2, 3}).empty());

  // With a secret nobody else joins.
  CHECK(thrown([&] { Mesh().connect(a.address()); }));
  std::filesystem::create_directories(folder);
  const std::string file = (folder / "secret").string();
  peernet::write_private(file, secret);
  CHECK(thrown([&] { peernet::write_private(file, secret); }) == Errc::data);
  Mesh b(Options().secret_file(file));
  CHECK(b.connect(a.address()) == a.id());
  CHECK(thrown([] { Mesh(Options().encryption("plaintext")).identity(); }) == Errc::needs_tls);
}

static void rules() {
  Mesh a(Options().allow({})), b;
  CHECK(thrown([&] { b.connect(a.address(), 60s); }));
  a.allow(b.id());
  CHECK(b.connect(a.address()) == a.id());
  await(a, EventType::connected);
  a.ban(b.id(), 1h);
  await(a, EventType::disconnected);
  CHECK(a.bans().size() == 1 && a.bans()[0].peer == b.id() && a.bans()[0].until > 0);
  a.unban(b.id());
  CHECK(a.bans().empty());
  a.disallow(b.id());
  CHECK(thrown([&] { a.ban("not an id", 1s); }) == Errc::id);

  CHECK(!peernet::settings().empty());
  CHECK(thrown([] { Mesh wrong(Options().setting("no such", 1)); }));
  Mesh other(Options().compression("zlib,gzip").setting(peernet::settings()[0], 1000).sign(true));
}

static void admission() {
  Told<std::string> asked, told;
  Mesh b;
  Mesh a(Options().admit([&](const peernet::Candidate &who) {
    asked(std::string(who.id()));
    return who.ip() == "127.0.0.1" && !who.dialled();
  }));
  b.connect(a.address());
  CHECK(asked.next() == b.id());

  // Whoever it throws about stays out.
  Mesh strict(Options().admit([](const peernet::Candidate &) -> bool { throw std::runtime_error("who is that"); },
                              told.thrown()));
  CHECK(thrown([&] { b.connect(strict.address(), 60s); }));
  CHECK(told.next() == "who is that");

  // It goes with its node, and where there is none, at once.
  const auto kept = std::make_shared<int>(0);
  {
    const Options options = Options().admit([kept](const peernet::Candidate &) { return true; });
    CHECK(kept.use_count() == 2);
    Mesh mesh(options);
    CHECK(kept.use_count() == 3);
    mesh.close();
    CHECK(kept.use_count() == 2);
    CHECK(!Mesh::open(std::nothrow, Options(options).encryption("rot13")));
    CHECK(kept.use_count() == 2);
  }
  CHECK(kept.use_count() == 1);
}

static void callbacks() {
  Told<std::string> heard, told;
  Mesh a, b;
  const auto kept = std::make_shared<int>(0);
  a.on_event(
      [&, kept](const Event &event) {
        if (!event.is_message()) return;
        // It must not wait.
        CHECK(thrown([&] { a.close(); }) == Errc::reentrant);
        CHECK(thrown([&] { a.send(event.peer(), "x"); }) == Errc::reentrant);
        const std::string text = event.payload().read<std::string>();
        if (text == "throw") throw std::runtime_error("thrown in a callback");
        CHECK(a.reply(std::nothrow, event, pack(text + "!"), peernet::no_wait).ok());
        heard(text);
      },
      told.thrown());
  CHECK(thrown([&] { a.poll(); }) == Errc::busy);
  CHECK(thrown([&] { a.on_event([](const Event &) {}); }) == Errc::busy);
  CHECK(thrown([&] { a.on_event(nullptr); }) == Errc::argument);
  b.connect(a.address());
  b.broadcast("throw");
  CHECK(told.next() == "thrown in a callback");
  b.broadcast("hello");
  CHECK(heard.next() == "hello");
  await(b, EventType::message, [](const Event &event) { CHECK(event.payload().read<std::string>() == "hello!"); });
  CHECK(kept.use_count() == 2);
  a.close();
  CHECK(kept.use_count() == 1);
}

// A node whose object goes within its own callback is closed all the same.
static void closing_within() {
  auto a = std::make_shared<Mesh>();
  const peernet_mesh handle = a->handle();
  Mesh b;
  b.connect(a->address());
  auto gone = std::make_shared<std::promise<void>>();
  std::future<void> done = gone->get_future();
  const Mesh &mesh = *a;
  mesh.on_event([a = std::move(a), gone](const Event &event) mutable {
    if (!event.is_message()) return;
    a = nullptr;
    gone->set_value();
  });
  b.broadcast("go");
  done.get();
  await(b, EventType::disconnected);
  CHECK(peernet_mesh_close(handle) == PEERNET_ERR_CLOSED);
}

static void hooks() {
  Told<int> seen;
  Told<std::string> told;
  Mesh a, b;
  a.on_code(0x40, [&](const Event &message) {
    CHECK(message.is_message() && message.code() == 0x40);
    seen(message.payload().read<int>());
    return true;
  });
  b.connect(a.address());
  b.broadcast_as(0x40, 7);
  CHECK(seen.next() == 7);
  b.send_as(a.id(), 0x40, 8);
  CHECK(seen.next() == 8);
  CHECK(thrown([&] { a.on_code(1, [](const Event &) { return true; }); }) == Errc::code);

  // One that throws takes nothing: what it saw goes on to whoever reads.
  a.on_code(0, [](const Event &) -> bool { throw std::runtime_error("thrown in a hook"); }, told.thrown());
  b.broadcast("x");
  CHECK(told.next() == "thrown in a hook");
  await(a, EventType::message);
  const auto kept = std::make_shared<int>(0);
  a.on_code(0, [kept](const Event &) { return true; });
  a.on_code(0, nullptr);
  CHECK(kept.use_count() == 1);
}

static void attached() {
  Mesh a, b;
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  auto other = std::async(std::launch::async, [&] { return a.attach(ends[0], ends[0], peernet::Role::acceptor, 60s); });
  CHECK(b.attach(ends[1], ends[1], peernet::Role::dialler, 60s) == a.id());
  CHECK(other.get() == b.id());
  CHECK(b.attach(std::nothrow, -1, -1, peernet::Role::dialler).error() == Errc::argument);
}

int main(int, char **argv) {
  // The folder is for this run of this program alone.
  const std::filesystem::path folder = std::string(argv[0]) + ".data";
  std::filesystem::remove_all(folder);
  identities(folder);
  std::filesystem::remove_all(folder);
  rules();
  admission();
  callbacks();
  closing_within();
  hooks();
  attached();
}
