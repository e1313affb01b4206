// Tables, requests, searches and peer books.
#include "check.hpp"

#include <filesystem>

using namespace std::chrono_literals;
using peernet::Errc;
using peernet::Event;
using peernet::EventType;
using peernet::Mesh;
using peernet::Options;
using peernet::pack;
using peernet::PeerBook;
using peernet::SyncTable;
using peernet::Value;
using peernet::Want;

static void table() {
  SyncTable a, b;
  a.want(Want::changes);
  b.want(Want::changes);
  b.connect(a.address());
  CHECK(b.empty() && !b.get("key") && !b.contains("key") && !b.owner("key") && !b.lease("key") && !b.time("key"));

  CHECK(b.set("key", "value").links == 1);
  await(a, EventType::update, [&](const Event &event) {
    CHECK(event.key() == "key" && event.peer() == b.id() && !event.old());
    CHECK(event.payload().read<std::string>() == "value");
  });
  CHECK(a.get<std::string>("key") == "value" && a.get("key") == Value("value"));
  CHECK(thrown([&] { a.get<int>("key"); }) == Errc::type);
  CHECK(a.owner("key") == b.id() && a.lease("key") > 0ms && a.time("key") == b.time("key"));
  CHECK(thrown([&] { a.set("key", 1); }) == Errc::lease);
  CHECK(a.set(std::nothrow, "key", 1).error() == Errc::lease);
  CHECK(thrown([&] { b.set("key", nullptr); }) == Errc::nil);
  CHECK(thrown([&] { b.set("key", pack(1, 2)); }) == Errc::value);
  CHECK(thrown([&] { b.delta("key", Value::map({})); }) == Errc::not_a_map);

  // Ordinary maps are maps.
  b.set("point", std::map<std::string, int>{{"x", 1}});
  b.delta("point", Value::map({{"y", 2.5}}), 60s);
  CHECK(b.get("point") == Value::map({{"x", 1}, {"y", 2.5}}));
  b.update(std::map<std::string, Value>{{"one", 1}, {"two", "2"}});
  CHECK(b.size() == 4 && b.keys().size() == 4 && b.values().size() == 4 && !b.empty());
  std::map<std::string, Value> copy;
  for (const auto &item : b.items()) copy.emplace(item.key(), item.value());
  CHECK(copy.size() == 4 && copy.at("one") == 1 && copy.at("two") == "2");

  CHECK(b.erase("key"));
  CHECK(!b.erase("key"));
  await(a, EventType::erase, [](const Event &event) { CHECK(event.key() == "key" && event.old() == Value("value")); });
  CHECK(b.pop("one") == Value(1) && !b.pop("one"));
  CHECK(b.popitem() && b.popitem() && !b.popitem());

  // What waits can be awaited.
  CHECK(b.set_async("later", 1).get().links == 1);
  b.delta_async("map", Value::map({{"k", 1}})).get();
  b.update_async(Value::map({{"later", 2}})).get();
  CHECK(b.get<int>("later") == 2);
  CHECK(b.erase_async("later").get());
  std::future<peernet::Report> refused = b.set_async("later", nullptr);
  CHECK(thrown([&] { refused.get(); }) == Errc::nil);

  // A table is a mesh too, and stays one if it is moved into one.
  b.broadcast("hello");
  await(a, EventType::message);
  Mesh mesh = std::move(b);
  CHECK(mesh.peers().size() == 1 && thrown([&] { b.set("key", 1); }) == Errc::closed);
  CHECK(thrown([] { SyncTable(nullptr).get("key"); }) == Errc::closed);
  Mesh none;
  CHECK(SyncTable(none.handle()).get(std::nothrow, "key").error() == Errc::no_table);
  none.release();
}

static void requests() {
  Mesh a, b;
  a.want(Want::requests);
  b.connect(a.address());
  const std::string id = a.id();
  std::future<peernet::Payload> sum = b.request_async(id, pack("sum", 1, 2));
  std::future<peernet::Payload> never = b.request_async(id, pack("never"), 60s);
  for (int left = 2; left > 0; left--)
    await(a, EventType::request, [&](const Event &event) {
      CHECK(event.peer() == b.id());
      auto request = event.payload();
      if (request.read<std::string>() == "never") return a.refuse(event.token());
      a.respond(event.token(), request.read<int>() + request.read<int>(), "done");
      CHECK(thrown([&] { a.respond(event.token(), 1); }) == Errc::unanswered);
    });
  CHECK((sum.get().reader().read<int, std::string>() == std::make_tuple(3, "done")));
  CHECK(thrown([&] { never.get(); }) == Errc::unanswered);
  CHECK(b.request(std::nothrow, id, pack("x"), peernet::no_wait).error() == Errc::timed_out);

  // Whoever waits is released when the node is closed.
  std::future<peernet::Payload> left = b.request_async(id, pack("left"));
  await(a, EventType::request, [](const Event &) {});
  b.close();
  CHECK(thrown([&] { left.get(); }) == Errc::closed);
}

static void searches() {
  Mesh a, b;
  a.want(Want::searches);
  b.connect(a.address());
  peernet::Search search = b.search("file", "song");
  await(a, EventType::search, [&](const Event &event) {
    CHECK(event.peer() == b.id() && event.key() == "file" && event.data() == "song" && event.hops() == 0);
    a.found(event.token(), "here");
    a.found_as(event.token(), "id", "folder", "there");
  });
  int rows = 0;
  for (const peernet::Row &row : search) {
    CHECK(row.peer() == a.id() && row.verified() && row.hops() == 0);
    CHECK(row.data() == (row.kind() == "folder" ? "there" : "here"));
    if (++rows == 2) break;
  }
  CHECK(search.next(std::nothrow, peernet::no_wait).error() == Errc::timed_out);
  search.stop();
  CHECK(thrown([&] { search.next(); }) == Errc::closed);
  for (const peernet::Row &row : search) CHECK(row.peer() == "nobody");

  peernet::Query query{"file", "song", "my id"};
  query.limit = 1;
  peernet::Search near = b.announce(query);
  await(a, EventType::search, [](const Event &event) { CHECK(event.id() == "my id" && event.limit() == 1); });
  query.data.resize(2000);
  CHECK(thrown([&] { b.announce(query); }) == Errc::config);
  // A search may outlive its node.
  b.close();
  CHECK(!near.next());
}

static void books(const std::string &folder) {
  const Options options = Options().data_dir(folder);
  {
    Mesh a(options), b;
    a.save("127.0.0.1:9");
    a.connect(b.address());
    CHECK(a.peer_stats(b.address())->id == b.id() && a.peer_stats(b.address())->connections_ok == 1);
    CHECK(!a.peer_stats("127.0.0.1:10"));
    CHECK(a.connections() == std::vector<std::string>{b.id() + "@" + b.address()});
    CHECK(thrown([&] { a.save("nowhere"); }) == Errc::address);
    CHECK(a.known().size() == 2);
    a.remove(b.address());
    a.flush();
    CHECK(thrown([&] { PeerBook book(options); }));
  }
  PeerBook book(options);
  const auto known = book.known();
  CHECK(known.size() == 1 && known[0].address == "127.0.0.1:9" && known[0].saved && !known[0].id);
  book.save("127.0.0.1:11");
  book.remove("127.0.0.1:9");
  CHECK(book.peer_stats("127.0.0.1:11")->saved && !book.peer_stats("127.0.0.1:12"));
  book.close();
  CHECK(thrown([&] { book.known(); }) == Errc::closed);
  CHECK(PeerBook::of_table(options).known().empty());
  PeerBook moved = PeerBook(options);
  book = std::move(moved);
  CHECK(book.known().size() == 1 && thrown([&] { moved.known(); }) == Errc::closed);
}

int main(int, char **argv) {
  table();
  requests();
  searches();
  // The folder is for this run of this program alone.
  const std::filesystem::path folder = std::string(argv[0]) + ".data";
  std::filesystem::remove_all(folder);
  books(folder.string());
  std::filesystem::remove_all(folder);
}
