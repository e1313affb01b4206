// Ordinary values, written and read. Needs no node.
#include "check.hpp"

using peernet::Errc;
using peernet::pack;
using peernet::Reader;
using peernet::Type;
using peernet::Value;
using peernet::Payload;

namespace {

struct Point {
  int x = 0, y = 0;
};

// What is written is read as the same.
template <class T>
void round_trip(const T &value, Type type) {
  const Payload writer = pack(value);
  Reader reader(writer.bytes());
  CHECK(reader.type() == type);
  CHECK(reader.read<T>() == value);
  CHECK(reader.done());
  CHECK(reader.type() == Type::end);
  CHECK(thrown([&] { reader.read<T>(); }) == Errc::end);
  CHECK(Value(value).as<T>() == value);
}

}  // namespace

template <>
struct peernet::Codec<Point> {
  static Status write(Payload &out, const Point &point) { return out.put(std::make_tuple(point.x, point.y)); }
  static Status read(Reader &in, Point &point) {
    std::tuple<int, int> both;
    Status status = in.get(both);
    if (status) std::tie(point.x, point.y) = both;
    return status;
  }
};

static void types() {
  round_trip(nullptr, Type::nil);
  round_trip(true, Type::boolean);
  round_trip(std::int8_t{-128}, Type::integer);
  round_trip(std::numeric_limits<std::int64_t>::min(), Type::integer);
  round_trip(std::numeric_limits<std::uint64_t>::max(), Type::integer);
  round_trip(5L, Type::integer);
  round_trip(5ULL, Type::integer);
  round_trip(1.5f, Type::floating);
  round_trip(-1e300, Type::floating);
  round_trip(std::string("h\u00e9\0llo", 7), Type::text);
  round_trip(std::string_view(), Type::text);
  round_trip(std::vector<std::uint8_t>{1, 2, 255}, Type::bytes);
  round_trip(std::vector<std::byte>{}, Type::bytes);
  round_trip(std::array<std::uint8_t, 2>{1, 2}, Type::bytes);
  round_trip(std::vector<bool>{true, false}, Type::array);
  round_trip(std::vector<std::vector<std::string>>{{"a"}, {}}, Type::array);
  round_trip(std::make_tuple(1, std::string("x"), false), Type::array);
  round_trip(std::make_pair(1u, 2.5), Type::array);
  round_trip(std::map<std::string, int>{{"a", 1}, {"b", -1}}, Type::map);
  round_trip(std::unordered_map<int, std::optional<int>>{{1, 2}, {3, std::nullopt}}, Type::map);
  round_trip(Value::array({1, "two", 3.0, nullptr, Value::map({{"k", true}})}), Type::array);
  CHECK(Value("text") == Value(std::string("text")));
  CHECK(Value("text") != Value(peernet::bytes_view("text")));
  CHECK(Value().is_nil());
}

static void several() {
  const Payload writer = pack("hello", 5, Point{1, 2});
  auto [text, number, point] = Reader(writer.bytes()).read<std::string_view, int, Point>();
  CHECK(text == "hello" && number == 5 && point.x == 1 && point.y == 2);

  // Of a row that does not fit, nothing is read.
  Reader reader(writer.bytes());
  CHECK((thrown([&] { reader.read<std::string, std::string>(); }) == Errc::type));
  CHECK(reader.read<std::string>() == "hello");
  reader.skip();
  CHECK(reader.array() == 2);
  CHECK((reader.read<int, int>() == std::make_tuple(1, 2)));

  // Payloads are passed on, whole or what is left of them.
  Reader rest(writer.bytes());
  rest.skip();
  const Payload on = pack("first", rest, writer);
  CHECK((Reader(on.bytes()).read<std::string, int, Point, std::string>(), true));
  CHECK((std::get<1>(Reader(on.bytes()).read<std::string, int>()) == 5));
}

static void maps() {
  const Value point = Value::map({{"x", 1}, {"y", 2.5}, {"tags", Value::array({"a", nullptr})}});
  CHECK(point["x"].as<int>() == 1);
  CHECK(point[std::string("y")].as<double>() == 2.5);
  CHECK((point["tags"].as<std::vector<std::optional<std::string>>>().size() == 2));
  CHECK(thrown([&] { point["z"]; }) == Errc::end);
  CHECK(thrown([&] { Value(5)["z"]; }) == Errc::type);
  CHECK((point.as<std::map<std::string, Value>>().at("x") == Value(1)));
  Reader reader = point.reader();
  CHECK(reader.map() == 3);
}

static void what_does_not_fit() {
  const Value value(300);
  CHECK(thrown([&] { value.as<std::uint8_t>(); }) == Errc::type);
  CHECK(value.as<std::int16_t>() == 300);
  CHECK(thrown([&] { Value(-1).as<unsigned>(); }) == Errc::type);
  CHECK(thrown([&] { Value("5").as<int>(); }) == Errc::type);
  CHECK(thrown([&] { Value(5).as<std::string>(); }) == Errc::type);
  CHECK((thrown([&] { Value(std::make_pair(1, 2)).as<std::tuple<int, int, int>>(); }) == Errc::type));
  CHECK((thrown([&] { Value("abc").as<std::array<std::uint8_t, 2>>(); }) == Errc::type));
  CHECK(value.as<std::uint8_t>(std::nothrow).error() == Errc::type);
  CHECK(value.as<std::uint8_t>(std::nothrow).message().find("300") != std::string::npos);
  CHECK(*value.as<int>(std::nothrow) == 300);

  // The reader stays in its place, also before a list of which a part was read.
  const Value mixed = Value::array({1, "x"});
  Reader reader = mixed.reader();
  CHECK(thrown([&] { reader.read<std::vector<int>>(); }) == Errc::type);
  CHECK(reader.read<Value>() == mixed);
}

static void what_has_no_form() {
  Payload writer = pack(1);
  CHECK(thrown([&] { writer.write("\xff"); }) == Errc::argument);
  CHECK(writer.write(std::nothrow, 2, std::string("\xff"), 3).error() == Errc::argument);
  const char *none = nullptr;
  CHECK(writer.write(std::nothrow, none).error() == Errc::argument);
  CHECK((Reader(writer.bytes()).read<int, int>() == std::make_tuple(1, 2)));
  CHECK(Reader(peernet::bytes_view("\xc1")).check().error() == Errc::value);
  CHECK(thrown([&] { pack(Reader(peernet::bytes_view("\xc1"))); }) == Errc::value);
  CHECK(writer.write(std::nothrow, writer).error() == Errc::argument);

  Payload moved = std::move(writer);
  CHECK(writer.bytes().empty());
  CHECK(writer.write(std::nothrow, 1).error() == Errc::argument);
  moved.clear();
  CHECK(moved.bytes().empty());
  CHECK(Reader().done() && thrown([] { Reader().read<int>(); }) == Errc::end);
}

static void frames() {
  using peernet::Decoded;
  using peernet::Frames;
  const std::string protocol = peernet::protocol_id("mesh", "Plaintext");
  const std::string id = peernet::node_id("127.0.0.1", 4444, protocol, "salt");
  CHECK(peernet::is_id(id) && !peernet::is_id("0OIl"));
  CHECK(thrown([] { peernet::node_id("127.0.0.1", 4444, "no id", ""); }) == Errc::id);

  const Frames frames = Frames().compression({19});
  const auto frame = frames.encode({2, 1234, id, true, pack(2, std::string(1000, 'x'))});
  CHECK(frame.size() < 1000);
  const Decoded decoded = frames.decode(frame);
  CHECK(decoded.type() == 2 && decoded.time() == 1234 && decoded.sender() == id && decoded.sender_as_bytes());
  CHECK((decoded.payload().read<int, std::string>() == std::make_tuple(2, std::string(1000, 'x'))));
  CHECK(!decoded.sealed());
  CHECK(decoded.id() == Frames::id({2, 1234, id, true, pack(2, std::string(1000, 'x'))}));
  CHECK(frames.decode(std::nothrow, "nonsense").error() == Errc::message);
  CHECK(thrown([&] { Frames().max_frame(10).encode({0, 0, id, false, pack("too much")}); }) == Errc::too_large);

  // A stream of frames, of which the last is not whole.
  std::vector<std::uint8_t> both = frame;
  both.insert(both.end(), frame.begin(), frame.end() - 1);
  peernet::bytes_view stream = both;
  CHECK(frames.next(stream)->time() == 1234);
  CHECK(stream.size() == frame.size() - 1);
  CHECK(!frames.next(stream) && stream.size() == frame.size() - 1);

  // What is sealed tells who has written it.
  const std::array<std::uint8_t, 32> secret{1, 2, 3};
  const std::string tls = peernet::protocol_id("mesh", "tls/mesh");
  const auto sealed = Frames().secret_key(secret).encode({0, 5, id, false, pack(0, "x")});
  CHECK(Frames().sealed_protocol(tls).decode(std::nothrow, sealed).error() == Errc::message);
  CHECK(peernet::is_id(peernet::key_id(secret, tls)));

  const std::vector<std::uint8_t> bytes{1, 0, 255};
  CHECK(peernet::base58_decode(peernet::base58_encode(bytes)) == bytes);
  CHECK(thrown([] { peernet::base58_decode("0"); }) == Errc::id);
}

// What may be written is known when compiling.
static_assert(peernet::detail::is_writable<const char (&)[3]>::value);
static_assert(peernet::detail::is_writable<Point>::value);
static_assert(!peernet::detail::is_writable<void *>::value);
static_assert(!peernet::detail::is_writable<char>::value);
static_assert(!peernet::detail::is_writable<std::chrono::seconds>::value);

static_assert(peernet::Timeout(std::chrono::seconds(2)).milliseconds() == 2000);
static_assert(peernet::Timeout(std::chrono::microseconds(1)).milliseconds() == 1);
static_assert(peernet::Timeout(std::chrono::seconds(-5)).milliseconds() == 0);
static_assert(peernet::Timeout(std::chrono::hours(1000000)).milliseconds() == 2147483647);
static_assert(peernet::forever.milliseconds() == -1 && peernet::no_wait.milliseconds() == 0);

int main() {
  types();
  several();
  maps();
  what_does_not_fit();
  what_has_no_form();
  frames();
  CHECK(peernet::abi_version() == PEERNET_ABI_VERSION);
  CHECK(!peernet::version().empty());
}
