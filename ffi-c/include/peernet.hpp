/*
 * peernet for C++17 and later: peernet.h with destructors, exceptions, and ordinary values. Only this header and
 * the C library are needed: link with -lpeernet (pkg-config: peernet) and threads.
 *
 *     #include <peernet.hpp>
 *     #include <iostream>
 *
 *     int main() {
 *       peernet::Mesh mesh(peernet::Options().listen("0.0.0.0:4444"));
 *       mesh.connect("example.org:4444");
 *       mesh.broadcast("hello", 5);
 *       for (const peernet::Event &event : mesh)  // until the mesh is closed
 *         if (event.is_message()) std::cout << event.peer() << ": " << event.payload().read<std::string>() << '\n';
 *     }
 *
 * Errors are exceptions, peernet::Error, of which code() compares with peernet::Errc. Every function that throws has
 * a twin that does not, and takes std::nothrow first: mesh.connect(std::nothrow, address) returns a Result. Twins
 * throw nothing at all, and like other noexcept functions end the program if memory runs out.
 *
 * What waits takes a Timeout last: any std::chrono duration, peernet::forever (the default) or peernet::no_wait.
 * Calls named ..._async return a std::future; each has a thread of its own for as long as it takes.
 *
 * Objects are moved and not copied. One that was moved from is closed: everything gives Errc::closed. Const functions
 * may be called from several threads at the same time. Views (Event, Reader, bytes_view, std::string_view) own
 * nothing; what they come from must live.
 */

#ifndef PEERNET_HPP
#define PEERNET_HPP

#include <peernet.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace peernet {

// ---------------------------------------------------------------------------------------------------------------
// Errors

/// The errors of peernet.h, as std::error_code has them: `error.code() == peernet::Errc::closed`.
enum class Errc : int {
  address = PEERNET_ERR_ADDRESS,
  config = PEERNET_ERR_CONFIG,
  data = PEERNET_ERR_DATA,
  store = PEERNET_ERR_STORE,
  unsupported = PEERNET_ERR_UNSUPPORTED,
  listen = PEERNET_ERR_LISTEN,
  connect = PEERNET_ERR_CONNECT,
  unreachable = PEERNET_ERR_UNREACHABLE,
  unproven = PEERNET_ERR_UNPROVEN,
  not_connected = PEERNET_ERR_NOT_CONNECTED,
  timed_out = PEERNET_ERR_TIMED_OUT,
  unanswered = PEERNET_ERR_UNANSWERED,
  too_many = PEERNET_ERR_TOO_MANY,
  needs_tls = PEERNET_ERR_NEEDS_TLS,
  search_over = PEERNET_ERR_SEARCH_OVER,
  value = PEERNET_ERR_VALUE,
  too_large = PEERNET_ERR_TOO_LARGE,
  full = PEERNET_ERR_FULL,
  repeated = PEERNET_ERR_REPEATED,
  lease = PEERNET_ERR_LEASE,
  table_full = PEERNET_ERR_TABLE_FULL,
  nil = PEERNET_ERR_NIL,
  not_a_map = PEERNET_ERR_NOT_A_MAP,
  key = PEERNET_ERR_KEY,
  code = PEERNET_ERR_CODE,
  lagged = PEERNET_ERR_LAGGED,
  closed = PEERNET_ERR_CLOSED,
  argument = PEERNET_ERR_ARGUMENT,
  id = PEERNET_ERR_ID,
  identity = PEERNET_ERR_IDENTITY,
  secret = PEERNET_ERR_SECRET,
  message = PEERNET_ERR_MESSAGE,
  type = PEERNET_ERR_TYPE,
  end = PEERNET_ERR_END,
  no_table = PEERNET_ERR_NO_TABLE,
  reentrant = PEERNET_ERR_REENTRANT,
  forked = PEERNET_ERR_FORKED,
  internal = PEERNET_ERR_INTERNAL,
  busy = PEERNET_ERR_BUSY,
};

}  // namespace peernet

template <>
struct std::is_error_code_enum<peernet::Errc> : std::true_type {};

namespace peernet {

/// The category of the library's error codes, of which message() is the stable word for the error.
inline const std::error_category &error_category() noexcept {
  class Category final : public std::error_category {
   public:
    const char *name() const noexcept override { return "peernet"; }
    std::string message(int status) const override { return peernet_status_name(status); }
    /// Those that have a portable twin equal it: `error.code() == std::errc::timed_out`.
    std::error_condition default_error_condition(int status) const noexcept override {
      switch (status) {
        case PEERNET_ERR_TIMED_OUT: return std::errc::timed_out;
        case PEERNET_ERR_NOT_CONNECTED: return std::errc::not_connected;
        case PEERNET_ERR_ARGUMENT: return std::errc::invalid_argument;
        case PEERNET_ERR_UNSUPPORTED: return std::errc::not_supported;
        case PEERNET_ERR_FULL: return std::errc::resource_unavailable_try_again;
        case PEERNET_ERR_TOO_LARGE: return std::errc::message_size;
        case PEERNET_ERR_UNREACHABLE: return std::errc::host_unreachable;
        default: return {status, *this};
      }
    }
  };
  static const Category category;
  return category;
}

inline std::error_code make_error_code(Errc error) noexcept { return {static_cast<int>(error), error_category()}; }

/// What is thrown: code() is one of Errc, what() the words for people.
class Error : public std::system_error {
 public:
  Error(Errc code, const std::string &text)
      : std::system_error(make_error_code(code)), text_(std::make_shared<const std::string>(text)) {}
  const char *what() const noexcept override { return text_->c_str(); }

 private:
  std::shared_ptr<const std::string> text_;  // exceptions are copied, and copying must not throw
};

/// What a function that does not throw came to: true if it worked.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  /// What a function of peernet.h returned, with the thread's last message.
  explicit Status(peernet_status status) : Status(status, status < 0 ? peernet_error_message() : "") {}
  Status(Errc error, std::string text) : Status(static_cast<peernet_status>(error), std::move(text)) {}

  bool ok() const noexcept { return status_ == PEERNET_OK; }
  explicit operator bool() const noexcept { return ok(); }
  /// The error; a code that is false if there is none.
  std::error_code error() const noexcept { return ok() ? std::error_code() : make_error_code(Errc(status_)); }
  /// The words for it.
  const std::string &message() const noexcept { return text_; }
  /// Throws the error, if there is one.
  void raise() const {
    if (!ok()) throw Error(Errc(status_), text_);
  }

 private:
  Status(peernet_status status, std::string text) : status_(status), text_(std::move(text)) {}

  peernet_status status_ = PEERNET_OK;
  std::string text_;
};

/// What a function that does not throw came to: a value, or why there is none.
///
///     if (auto id = mesh.connect(std::nothrow, address)) use(*id); else complain(id.message());
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Status failed) : state_(std::in_place_index<1>, std::move(failed)) {}

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  std::error_code error() const noexcept { return ok() ? std::error_code() : std::get_if<1>(&state_)->error(); }
  std::string message() const { return ok() ? std::string() : std::get_if<1>(&state_)->message(); }
  /// Why there is no value.
  Status status() && { return ok() ? Status() : std::move(*std::get_if<1>(&state_)); }
  /// The value, or the error as an exception.
  const T &value() const & { return check(), *std::get_if<0>(&state_); }
  T &value() & { return check(), *std::get_if<0>(&state_); }
  T value() && { return check(), std::move(*std::get_if<0>(&state_)); }
  /// The value, or another one.
  T value_or(T otherwise) const { return ok() ? *std::get_if<0>(&state_) : std::move(otherwise); }
  /// The value, which must be there.
  const T &operator*() const noexcept { return *std::get_if<0>(&state_); }
  T &operator*() noexcept { return *std::get_if<0>(&state_); }
  const T *operator->() const noexcept { return std::get_if<0>(&state_); }
  T *operator->() noexcept { return std::get_if<0>(&state_); }

 private:
  void check() const {
    if (!ok()) std::get_if<1>(&state_)->raise();
  }

  std::variant<T, Status> state_;
};

// ---------------------------------------------------------------------------------------------------------------
// Arguments

/// Bytes of someone else's: made of vectors, arrays, strings and string_views, and of literals without their NUL.
class bytes_view {
 public:
  using value_type = std::uint8_t;
  constexpr bytes_view() noexcept = default;
  constexpr bytes_view(const std::uint8_t *data, std::size_t size) noexcept : data_(data), size_(size) {}
  bytes_view(const char *text) noexcept : bytes_view(std::string_view(text)) {}
  template <class C, class = std::enable_if_t<sizeof(*std::declval<const C &>().data()) == 1>>
  bytes_view(const C &bytes) noexcept
      : data_(reinterpret_cast<const std::uint8_t *>(bytes.data())), size_(bytes.size()) {}

  constexpr const std::uint8_t *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr const std::uint8_t *begin() const noexcept { return data_; }
  constexpr const std::uint8_t *end() const noexcept { return data_ + size_; }
  constexpr std::uint8_t operator[](std::size_t at) const noexcept { return data_[at]; }
  /// The same bytes as characters.
  std::string_view text() const noexcept { return {reinterpret_cast<const char *>(data_), size_}; }
  friend bool operator==(bytes_view a, bytes_view b) noexcept { return a.text() == b.text(); }
  friend bool operator!=(bytes_view a, bytes_view b) noexcept { return !(a == b); }

 private:
  const std::uint8_t *data_ = nullptr;
  std::size_t size_ = 0;
};

/// A text as an argument, of whatever kind; only string_views are copied.
class Text {
 public:
  Text(const char *text) noexcept : text_(text) {}
  Text(const std::string &text) noexcept : Text(text.c_str(), text.size()) {}
  Text(std::string_view text) : copy_(text), text_(whole(copy_.c_str(), copy_.size())) {}
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;
  const char *c_str() const noexcept { return text_; }

 private:
  Text(const char *text, std::size_t size) noexcept : text_(whole(text, size)) {}
  /// A NUL within would cut it short. What is not UTF-8 is refused by every function, as that should be.
  static const char *whole(const char *text, std::size_t size) noexcept {
    return std::string_view(text, size).find('\0') == std::string_view::npos ? text : "\xff";
  }

  std::string copy_;
  const char *text_;
};

/// How long a call may wait: a std::chrono duration (rounded up to milliseconds), `forever` or `no_wait`.
class Timeout {
 public:
  template <class Rep, class Period>
  constexpr Timeout(std::chrono::duration<Rep, Period> time) noexcept : ms_(0) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const double ms = std::chrono::duration_cast<Milliseconds>(time).count();
    constexpr std::int32_t most = (std::numeric_limits<std::int32_t>::max)();
    if (ms >= static_cast<double>(most)) {
      ms_ = most;
    } else if (ms > 0) {
      ms_ = static_cast<std::int32_t>(ms);
      if (static_cast<double>(ms_) < ms) ms_++;
    }
  }
  /// As long as it takes.
  static constexpr Timeout never() noexcept { return Timeout(-1); }
  /// As peernet.h has it.
  constexpr std::int32_t milliseconds() const noexcept { return ms_; }

 private:
  constexpr explicit Timeout(std::int32_t ms) noexcept : ms_(ms) {}
  std::int32_t ms_;
};

/// As long as it takes.
inline constexpr Timeout forever = Timeout::never();
/// Not at all: what cannot be done at once is an error.
inline constexpr Timeout no_wait = std::chrono::milliseconds(0);

// ---------------------------------------------------------------------------------------------------------------
// Values

class Payload;
class Reader;

/// How a type is written and read. Specialise it for types of your own:
///
///     template <> struct peernet::Codec<Point> {
///       static Status write(Payload &out, const Point &p) { return out.put(std::make_tuple(p.x, p.y)); }
///       static Status read(Reader &in, Point &p) {
///         std::tuple<int, int> both;
///         Status status = in.get(both);
///         if (status) std::tie(p.x, p.y) = both;
///         return status;
///       }
///     };
///
/// There is one for bool, integers, float, double, nullptr, strings and string_views, const char * (writing), bytes
/// (bytes_view, std::vector and std::array of std::uint8_t or std::byte), std::vector (an array), std::map and
/// std::unordered_map, std::tuple and std::pair (arrays), std::optional (nil if empty), Value; for writing also Payload
/// and Reader, all of whose values are written.
template <class T, class = void>
struct Codec;

namespace detail {

template <class T, class = void>
struct is_writable : std::false_type {};
template <class T>
struct is_writable<T, std::void_t<decltype(Codec<std::decay_t<T>>::write(std::declval<Payload &>(),
                                                                         std::declval<const std::decay_t<T> &>()))>>
    : std::true_type {};

template <class... T>
using if_writable = std::enable_if_t<(is_writable<T>::value && ...)>;

template <class T, class... Others>
inline constexpr bool is_one_of = (std::is_same_v<T, Others> || ...);

#ifdef __cpp_char8_t
using char8 = char8_t;
#else
using char8 = char;
#endif

/// Integers, but neither booleans nor characters.
template <class T>
inline constexpr bool is_integer =
    std::is_integral_v<T> && !is_one_of<T, bool, char, wchar_t, char16_t, char32_t, char8>;

template <class T>
inline constexpr bool is_byte = is_one_of<T, std::uint8_t, std::byte>;

inline Status too_many() { return {Errc::too_large, "more than 2^32-1 values in one"}; }

}  // namespace detail

/// Packed values, one after the other, as they are sent and answered. `pack("hello", 5)` makes one.
class Payload {
 public:
  Payload() : raw_(peernet_writer_new()) {}

  /// Appends values. A value without a form (text that is not UTF-8) is Errc::argument or Errc::value.
  template <class... T, class = detail::if_writable<T...>>
  Payload &write(const T &...values) {
    (put(values).raise(), ...);
    return *this;
  }
  /// As write. Of several values those before the one that failed are there.
  template <class... T, class = detail::if_writable<T...>>
  Status write(std::nothrow_t, const T &...values) noexcept {
    Status status;
    (void)((status = put(values)).ok() && ...);
    return status;
  }
  /// Appends one value; for Codecs.
  template <class T>
  Status put(const T &value) {
    return Codec<std::decay_t<T>>::write(*this, value);
  }
  /// Begins an array: the next `count` values are in it.
  Status begin_array(std::size_t count) { return begin(peernet_writer_array, count); }
  /// Begins a map: the next `count` pairs of values, key and value in turn, are in it.
  Status begin_map(std::size_t count) { return begin(peernet_writer_map, count); }

  /// Reads what was written, good until more is.
  Reader reader() const noexcept;
  /// The same, as bytes.
  bytes_view bytes() const noexcept { return {peernet_writer_data(raw()), peernet_writer_len(raw())}; }
  /// Empties it.
  void clear() noexcept { peernet_writer_clear(raw()); }
  /// For functions of peernet.h. It stays the Payload's. Null if it was moved from.
  peernet_writer *raw() const noexcept { return raw_.get(); }

 private:
  Status begin(peernet_status (*head)(peernet_writer *, std::uint32_t), std::size_t count) {
    if (count > (std::numeric_limits<std::uint32_t>::max)()) return detail::too_many();
    return Status(head(raw(), static_cast<std::uint32_t>(count)));
  }

  struct Free {
    void operator()(peernet_writer *writer) const noexcept { peernet_writer_free(writer); }
  };
  std::unique_ptr<peernet_writer, Free> raw_;
};

/// Values, packed.
template <class... T, class = detail::if_writable<T...>>
Payload pack(const T &...values) {
  Payload writer;
  writer.write(values...);
  return writer;
}

/// The types of values.
enum class Type : std::int32_t {
  end = PEERNET_TYPE_END,
  nil = PEERNET_TYPE_NIL,
  boolean = PEERNET_TYPE_BOOL,
  integer = PEERNET_TYPE_INT,
  floating = PEERNET_TYPE_FLOAT,
  text = PEERNET_TYPE_TEXT,
  bytes = PEERNET_TYPE_BYTES,
  array = PEERNET_TYPE_ARRAY,
  map = PEERNET_TYPE_MAP,
};

/// A place in packed values, which it does not own. Copies are cheap, and go their own way.
///
///     auto [text, number] = event.payload().read<std::string, int>();
class Reader {
 public:
  Reader() noexcept : Reader(bytes_view()) {}
  explicit Reader(bytes_view packed) noexcept : raw_{nullptr, 0, 0} {
    peernet_reader_init(&raw_, packed.data(), packed.size());
  }
  explicit Reader(const peernet_reader &raw) noexcept : raw_(raw) {}

  /// Reads a value: Errc::type if it is of another type or does not fit into T, Errc::end if there is none; it stays
  /// in its place then.
  template <class T>
  T read() {
    T value{};
    get(value).raise();
    return value;
  }
  /// Reads several.
  template <class T, class U, class... More>
  std::tuple<T, U, More...> read() {
    const peernet_reader before = raw_;
    std::tuple<T, U, More...> values;
    const Status status =
        std::apply([this](auto &...value) { Status one; (void)((one = get(value)).ok() && ...); return one; }, values);
    if (!status) raw_ = before;
    status.raise();
    return values;
  }
  template <class T>
  Result<T> read(std::nothrow_t) noexcept {
    T value{};
    Status status = get(value);
    if (!status) return status;
    return value;
  }
  /// Reads one value; for Codecs.
  template <class T>
  Status get(T &value) {
    const peernet_reader before = raw_;
    Status status = Codec<T>::read(*this, value);
    if (!status) raw_ = before;
    return status;
  }

  /// The type of the next value. Errc::value if the bytes are none.
  Type type() const {
    const std::int32_t type = peernet_reader_type(&raw_);
    if (type < 0) Status(type).raise();
    return Type(type);
  }
  /// Whether all is read.
  bool done() const noexcept { return raw_.at >= raw_.len; }
  /// Passes over a value, with all that is in it.
  Reader &skip() {
    Status(peernet_reader_skip(&raw_)).raise();
    return *this;
  }
  /// Reads the head of an array: how many of the next values are in it.
  std::size_t array() { return head(peernet_reader_array); }
  /// Reads the head of a map: how many pairs, key and value in turn, are in it.
  std::size_t map() { return head(peernet_reader_map); }
  /// In the map that comes next, the place of a key's value. Errc::end if it has no such key.
  Reader find(const Text &key) const {
    Reader value;
    Status(peernet_reader_find(&raw_, key.c_str(), &value.raw_)).raise();
    return value;
  }
  /// Whether all that is left is whole values. Payloads of events always are.
  Status check() const { return Status(peernet_reader_check(&raw_)); }
  /// What is left to read, packed.
  bytes_view rest() const noexcept { return done() ? bytes_view() : bytes_view(raw_.data + raw_.at, raw_.len - raw_.at); }
  /// For functions of peernet.h.
  peernet_reader &raw() noexcept { return raw_; }
  const peernet_reader &raw() const noexcept { return raw_; }

 private:
  std::size_t head(peernet_status (*next)(peernet_reader *, std::size_t *)) {
    std::size_t count = 0;
    Status(next(&raw_, &count)).raise();
    return count;
  }

  peernet_reader raw_;
};

// The codecs.

template <>
struct Codec<std::nullptr_t> {
  static Status write(Payload &out, std::nullptr_t) { return Status(peernet_writer_nil(out.raw())); }
  static Status read(Reader &in, std::nullptr_t &) { return Status(peernet_reader_nil(&in.raw())); }
};

template <>
struct Codec<bool> {
  static Status write(Payload &out, bool value) { return Status(peernet_writer_bool(out.raw(), value)); }
  static Status read(Reader &in, bool &value) {
    std::int32_t found = 0;
    Status status(peernet_reader_bool(&in.raw(), &found));
    value = found != 0;
    return status;
  }
};

template <class T>
struct Codec<T, std::enable_if_t<detail::is_integer<T>>> {
  using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
  static Status write(Payload &out, T value) {
    if constexpr (std::is_signed_v<T>) return Status(peernet_writer_int(out.raw(), value));
    else return Status(peernet_writer_uint(out.raw(), value));
  }
  static Status read(Reader &in, T &value) {
    Wide found = 0;
    Status status;
    if constexpr (std::is_signed_v<T>) status = Status(peernet_reader_int(&in.raw(), &found));
    else status = Status(peernet_reader_uint(&in.raw(), &found));
    if (!status) return status;
    if (found < (std::numeric_limits<T>::min)() || found > (std::numeric_limits<T>::max)())
      return {Errc::type, "the next value, " + std::to_string(found) + ", does not fit the integer it is read into"};
    value = static_cast<T>(found);
    return status;
  }
};

template <class T>
struct Codec<T, std::enable_if_t<detail::is_one_of<T, float, double>>> {
  static Status write(Payload &out, T value) { return Status(peernet_writer_float(out.raw(), value)); }
  static Status read(Reader &in, T &value) {
    double found = 0;
    Status status(peernet_reader_float(&in.raw(), &found));
    value = static_cast<T>(found);
    return status;
  }
};

template <class T>
struct Codec<T, std::enable_if_t<detail::is_one_of<T, std::string, std::string_view>>> {
  static Status write(Payload &out, std::string_view text) {
    return Status(peernet_writer_text_len(out.raw(), text.data(), text.size()));
  }
  static Status read(Reader &in, T &text) {
    const char *found = nullptr;
    std::size_t size = 0;
    Status status(peernet_reader_text(&in.raw(), &found, &size));
    if (status) text = std::string_view(found, size);
    return status;
  }
};

template <class T>
struct Codec<T, std::enable_if_t<detail::is_one_of<T, const char *, char *>>> {
  static Status write(Payload &out, const char *text) { return Status(peernet_writer_text(out.raw(), text)); }
};

template <>
struct Codec<bytes_view> {
  static Status write(Payload &out, bytes_view bytes) {
    return Status(peernet_writer_bytes(out.raw(), bytes.data(), bytes.size()));
  }
  static Status read(Reader &in, bytes_view &bytes) {
    const std::uint8_t *found = nullptr;
    std::size_t size = 0;
    Status status(peernet_reader_bytes(&in.raw(), &found, &size));
    if (status) bytes = {found, size};
    return status;
  }
};

template <class T>
struct Codec<std::vector<T>, std::enable_if_t<detail::is_byte<T>>> {
  static Status write(Payload &out, const std::vector<T> &bytes) { return out.put(bytes_view(bytes)); }
  static Status read(Reader &in, std::vector<T> &bytes) {
    bytes_view found;
    Status status = in.get(found);
    const T *begin = reinterpret_cast<const T *>(found.data());
    if (status) bytes.assign(begin, begin + found.size());
    return status;
  }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>, std::enable_if_t<detail::is_byte<T>>> {
  static Status write(Payload &out, const std::array<T, N> &bytes) { return out.put(bytes_view(bytes)); }
  static Status read(Reader &in, std::array<T, N> &bytes) {
    bytes_view found;
    Status status = in.get(found);
    if (!status) return status;
    if (found.size() != N) return {Errc::type, "the next value has another number of bytes than the array"};
    std::copy_n(reinterpret_cast<const T *>(found.data()), N, bytes.begin());
    return status;
  }
};

template <class T>
struct Codec<std::vector<T>, std::enable_if_t<!detail::is_byte<T>>> {
  static Status write(Payload &out, const std::vector<T> &values) {
    Status status = out.begin_array(values.size());
    for (auto at = values.begin(); status && at != values.end(); ++at) status = out.put(static_cast<const T &>(*at));
    return status;
  }
  static Status read(Reader &in, std::vector<T> &values) {
    std::size_t count = 0;
    Status status(peernet_reader_array(&in.raw(), &count));
    values.clear();
    for (; status && count > 0; count--) {
      T value{};
      status = in.get(value);
      if (status) values.push_back(std::move(value));
    }
    return status;
  }
};

namespace detail {

template <class Map>
struct MapCodec {
  static Status write(Payload &out, const Map &map) {
    Status status = out.begin_map(map.size());
    for (auto at = map.begin(); status && at != map.end(); ++at) {
      status = out.put(at->first);
      if (status) status = out.put(at->second);
    }
    return status;
  }
  /// Of equal keys the first one counts, as with Reader::find.
  static Status read(Reader &in, Map &map) {
    std::size_t count = 0;
    Status status(peernet_reader_map(&in.raw(), &count));
    map.clear();
    for (; status && count > 0; count--) {
      typename Map::key_type key{};
      typename Map::mapped_type value{};
      status = in.get(key);
      if (status) status = in.get(value);
      if (status) map.emplace(std::move(key), std::move(value));
    }
    return status;
  }
};

/// Tuples and pairs: arrays of a known length.
template <class Tuple>
struct TupleCodec {
  static constexpr std::size_t size = std::tuple_size_v<Tuple>;
  static Status write(Payload &out, const Tuple &values) {
    Status status = out.begin_array(size);
    std::apply([&](const auto &...value) { (void)(status.ok() && ... && (status = out.put(value)).ok()); }, values);
    return status;
  }
  static Status read(Reader &in, Tuple &values) {
    std::size_t count = 0;
    Status status(peernet_reader_array(&in.raw(), &count));
    if (status && count != size) return {Errc::type, "the next array has another length than what it is read into"};
    std::apply([&](auto &...value) { (void)(status.ok() && ... && (status = in.get(value)).ok()); }, values);
    return status;
  }
};

}  // namespace detail

template <class K, class V, class... Rest>
struct Codec<std::map<K, V, Rest...>> : detail::MapCodec<std::map<K, V, Rest...>> {};
template <class K, class V, class... Rest>
struct Codec<std::unordered_map<K, V, Rest...>> : detail::MapCodec<std::unordered_map<K, V, Rest...>> {};
template <class... T>
struct Codec<std::tuple<T...>> : detail::TupleCodec<std::tuple<T...>> {};
template <class A, class B>
struct Codec<std::pair<A, B>> : detail::TupleCodec<std::pair<A, B>> {};

template <class T>
struct Codec<std::optional<T>> {
  static Status write(Payload &out, const std::optional<T> &value) { return value ? out.put(*value) : out.put(nullptr); }
  static Status read(Reader &in, std::optional<T> &value) {
    value.reset();
    if (peernet_reader_type(&in.raw()) == PEERNET_TYPE_NIL) return Status(peernet_reader_nil(&in.raw()));
    return in.get(value.emplace());
  }
};

template <>
struct Codec<Reader> {
  static Status write(Payload &out, const Reader &in) {
    return Status(peernet_writer_packed(out.raw(), in.rest().data(), in.rest().size()));
  }
};

template <>
struct Codec<Payload> {
  static Status write(Payload &out, const Payload &in) {
    if (&in == &out) return {Errc::argument, "a writer cannot be appended to itself"};
    return out.put(in.reader());
  }
};

class Value;

template <>
struct Codec<Value> {
  static Status write(Payload &out, const Value &value);
  static Status read(Reader &in, Value &value);
};

inline Reader Payload::reader() const noexcept { return Reader(bytes()); }

/// One value of any type. Whatever can be written becomes one by itself.
///
///     peernet::Value point = peernet::Value::map({{"x", 1}, {"y", 2.5}, {"tags", peernet::Value::array({"a", nullptr})}});
///     int x = point["x"].as<int>();
class Value {
 public:
  /// Nil.
  Value() : Value(nullptr) {}
  template <class T, class = detail::if_writable<T>,
            class = std::enable_if_t<!detail::is_one_of<std::decay_t<T>, Value, Payload, Reader>>>
  Value(const T &value) : Value(pack(value)) {}
  static Value array(std::initializer_list<Value> values) {
    Payload writer;
    writer.begin_array(values.size()).raise();
    for (const Value &value : values) writer.write(value);
    return Value(writer);
  }
  static Value map(std::initializer_list<std::pair<std::string_view, Value>> pairs) {
    Payload writer;
    writer.begin_map(pairs.size()).raise();
    for (const auto &pair : pairs) writer.write(pair.first, pair.second);
    return Value(writer);
  }

  /// The value as an ordinary one: Errc::type if it is of another type. Views lead into this Value.
  template <class T>
  T as() const {
    return reader().read<T>();
  }
  template <class T>
  Result<T> as(std::nothrow_t) const noexcept {
    return reader().read<T>(std::nothrow);
  }
  /// The value of a key of a map. Errc::end if it has no such key.
  Value operator[](const Text &key) const { return reader().find(key).read<Value>(); }
  Type type() const { return reader().type(); }
  bool is_nil() const { return type() == Type::nil; }
  Reader reader() const noexcept { return Reader(bytes()); }
  /// It, packed.
  bytes_view bytes() const noexcept { return packed_; }
  friend bool operator==(const Value &a, const Value &b) noexcept { return a.packed_ == b.packed_; }
  friend bool operator!=(const Value &a, const Value &b) noexcept { return !(a == b); }

 private:
  friend struct Codec<Value>;
  explicit Value(const Payload &writer) : packed_(writer.bytes().begin(), writer.bytes().end()) {}

  std::vector<std::uint8_t> packed_;
};

inline Status Codec<Value>::write(Payload &out, const Value &value) { return out.put(value.reader()); }

inline Status Codec<Value>::read(Reader &in, Value &value) {
  const bytes_view before = in.rest();
  Status status(peernet_reader_skip(&in.raw()));
  if (status) value.packed_.assign(before.begin(), before.end() - in.rest().size());
  return status;
}

// ---------------------------------------------------------------------------------------------------------------
// Events

/// What happened. A later library may tell of others: pass over those that you do not know.
enum class EventType : std::uint32_t {
  message = PEERNET_EVENT_MESSAGE,
  connected = PEERNET_EVENT_CONNECTED,
  disconnected = PEERNET_EVENT_DISCONNECTED,
  lagged = PEERNET_EVENT_LAGGED,
  slow_peer = PEERNET_EVENT_SLOW_PEER,
  update = PEERNET_EVENT_UPDATE,
  erase = PEERNET_EVENT_DELETE,
  request = PEERNET_EVENT_REQUEST,
  search = PEERNET_EVENT_SEARCH,
  redial = PEERNET_EVENT_REDIAL,
  store_replaced = PEERNET_EVENT_STORE_REPLACED,
  records_damaged = PEERNET_EVENT_RECORDS_DAMAGED,
  store_failed = PEERNET_EVENT_STORE_FAILED,
  superseded = PEERNET_EVENT_SUPERSEDED,
  changes_lagged = PEERNET_EVENT_CHANGES_LAGGED,
};

/// The kinds of events that come only once asked for, with Mesh::want.
enum class Want : std::uint32_t {
  requests = PEERNET_WANT_REQUESTS,
  searches = PEERNET_WANT_SEARCHES,
  changes = PEERNET_WANT_CHANGES,
};
constexpr Want operator|(Want a, Want b) noexcept {
  return Want(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

/// A view of what happened, good for as long as its batch. Which parts have a meaning depends on the type, as
/// PEERNET_EVENT_... of peernet.h say; the others are empty.
class Event {
 public:
  explicit Event(const peernet_event &raw) noexcept : raw_(&raw) {}

  EventType type() const noexcept { return EventType(raw_->type); }
  bool is_message() const noexcept { return type() == EventType::message; }
  /// Whether a message is to this node alone.
  bool is_whisper() const noexcept { return is_message() && raw_->kind == PEERNET_WHISPER; }
  /// The node that it is about; of a message its author.
  std::string_view peer() const noexcept { return text_of(raw_->peer); }
  /// The values of a message or request, the new value of an update. One begins anew with every call.
  Reader payload() const noexcept { return Reader(data()); }
  /// The same, packed; of a search its data.
  bytes_view data() const noexcept { return {raw_->payload, raw_->payload_len}; }
  /// The key in a table; of a search its type.
  bytes_view key() const noexcept { return {raw_->key, raw_->key_len}; }
  /// The value before, if there was one.
  std::optional<Value> old() const {
    if (raw_->old == nullptr) return std::nullopt;
    return Reader(bytes_view(raw_->old, raw_->old_len)).read<Value>();
  }
  /// The id of a message, the same on every node; of a search its id.
  bytes_view id() const noexcept {
    if (type() == EventType::search) return {raw_->old, raw_->old_len};
    return {raw_->id, sizeof raw_->id};
  }
  /// The code of a message: 0 or 2, or the user's own.
  std::uint64_t code() const noexcept { return raw_->code; }
  /// When, by the author's clock.
  std::chrono::system_clock::time_point time() const noexcept {
    return std::chrono::system_clock::time_point(std::chrono::seconds(raw_->time));
  }
  std::uint64_t count() const noexcept { return raw_->count; }
  /// What an answer to a request or a search names, also when the event is gone.
  std::uint64_t token() const noexcept { return raw_->token; }
  /// Over how many links a search may go, and how many it came over before the last one.
  std::uint32_t limit() const noexcept { return raw_->kind; }
  std::uint64_t hops() const noexcept { return raw_->count; }
  /// Whether it is proven that the author wrote it.
  bool verified() const noexcept { return raw_->verified != 0; }
  std::string_view address() const noexcept { return text_of(raw_->address); }
  /// A stable word for why, and words for people.
  std::string_view reason() const noexcept { return text_of(raw_->reason); }
  std::string_view text() const noexcept { return text_of(raw_->text); }
  /// For functions of peernet.h.
  const peernet_event &raw() const noexcept { return *raw_; }

 private:
  static std::string_view text_of(const char *text) noexcept { return text == nullptr ? "" : text; }

  const peernet_event *raw_;
};

/// Events, in order. False if there are none: the time was over.
class Batch {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Event;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Event;

    iterator() noexcept = default;
    Event operator*() const noexcept { return Event(*peernet_batch_at(batch_, at_)); }
    iterator &operator++() noexcept { return at_++, *this; }
    iterator operator++(int) noexcept { return {batch_, at_++}; }
    friend bool operator==(iterator a, iterator b) noexcept { return a.at_ == b.at_; }
    friend bool operator!=(iterator a, iterator b) noexcept { return a.at_ != b.at_; }

   private:
    friend class Batch;
    iterator(const peernet_batch *batch, std::size_t at) noexcept : batch_(batch), at_(at) {}

    const peernet_batch *batch_ = nullptr;
    std::size_t at_ = 0;
  };

  Batch() noexcept = default;
  /// Owns one of peernet.h.
  explicit Batch(peernet_batch *raw) noexcept : raw_(raw) {}

  std::size_t size() const noexcept { return peernet_batch_len(raw()); }
  bool empty() const noexcept { return size() == 0; }
  explicit operator bool() const noexcept { return !empty(); }
  /// One of size().
  Event operator[](std::size_t at) const noexcept { return Event(*peernet_batch_at(raw(), at)); }
  iterator begin() const noexcept { return {raw(), 0}; }
  iterator end() const noexcept { return {raw(), size()}; }
  /// For functions of peernet.h. It stays the Batch's.
  peernet_batch *raw() const noexcept { return raw_.get(); }

 private:
  struct Free {
    void operator()(peernet_batch *batch) const noexcept { peernet_batch_free(batch); }
  };
  std::unique_ptr<peernet_batch, Free> raw_;
};

// ---------------------------------------------------------------------------------------------------------------
// Nodes

/// Is given what a callback throws, on the thread where it does; in it, std::rethrow_exception(thrown) in a try block
/// tells more. It must not throw itself. Without one, such an exception ends the program, as one that leaves a
/// std::thread does.
using ExceptionHandler = std::function<void(std::exception_ptr thrown)>;

/// Whoever connects to a node or was dialled by it. A view, good during the call.
class Candidate {
 public:
  explicit Candidate(const peernet_candidate &raw) noexcept : raw_(&raw) {}
  /// The id that it has proven.
  std::string_view id() const noexcept { return raw_->id; }
  /// The IP address where it is; empty where it has none.
  std::string_view ip() const noexcept { return raw_->ip == nullptr ? "" : raw_->ip; }
  /// Whether we dialled it.
  bool dialled() const noexcept { return raw_->dialled != 0; }

 private:
  const peernet_candidate *raw_;
};

namespace detail {

/// A function of the program's that C calls. Nothing that it throws goes on into C.
template <class Signature>
struct Callback;
template <class R, class... A>
struct Callback<R(A...)> {
  std::function<R(A...)> call;
  ExceptionHandler failed;

  /// `otherwise` where it throws.
  template <class O>
  R run(O otherwise, A... arguments) const noexcept {
    try {
      return call(arguments...);
    } catch (...) {
      if (!failed) std::terminate();
      failed(std::current_exception());
      return R(otherwise);
    }
  }
};

template <class T>
void drop(void *user) {
  delete static_cast<T *>(user);
}

}  // namespace detail

/// What a node is opened with; what is not set is as by default.
///
///     peernet::Mesh mesh(peernet::Options().subnet("chess").connect("example.org:4444").max_peers(8));
class Options {
 public:
  /// Where to listen, as host:port (127.0.0.1:0); port 0 takes a free one.
  Options &listen(std::string address) { return listen_ = std::move(address), *this; }
  /// The address others are told (the one listened on).
  Options &advertise(std::string address) { return advertise_ = std::move(address), *this; }
  /// The subnet's name. Only nodes of the same subnet and encryption join each other.
  Options &subnet(std::string name) { return subnet_ = std::move(name), *this; }
  /// How links are encrypted: tls (the default), plaintext, ssl, ws or wss.
  Options &encryption(std::string name) { return encryption_ = std::move(name), *this; }
  /// Where the node is: wan, lan or local set bounds and time-outs for it.
  Options &preset(std::string name) { return preset_ = std::move(name), *this; }
  /// A directory for what outlives the node, for this node alone.
  Options &data_dir(std::string path) { return data_dir_ = std::move(path), *this; }
  /// A node to connect to from the start, as host:port or id@host:port. One more with every call.
  Options &connect(std::string address) { return connect_.push_back(std::move(address)), *this; }
  /// Neighbours at most.
  Options &max_peers(std::size_t count) noexcept { return raw_.max_peers = count, *this; }
  /// Events waiting to be read, at most; beyond, messages are dropped, and EventType::lagged tells how many.
  Options &queue(std::size_t count) noexcept { return raw_.queue = count, *this; }
  /// Largest frame sent or accepted, in bytes.
  Options &max_frame(std::size_t bytes) noexcept { return raw_.max_frame = bytes, *this; }
  /// In a table: whether whoever sets a key has it for an hour (true), or the later change wins.
  Options &leases(bool yes) noexcept { return raw_.leases = choice(yes), *this; }
  /// Whether what changes the node's data is done only when it is on the disk (false).
  Options &durable(bool yes) noexcept { return raw_.durable = choice(yes), *this; }

  /// The keys that the node's id is derived from, as new_identity makes them. This and the following, to sign, only
  /// with tls.
  Options &identity(std::string keys) { return identity_ = std::move(keys), *this; }
  /// Instead: a file with them, which only its owner can read (write_private).
  Options &identity_file(std::string path) { return identity_file_ = std::move(path), *this; }
  /// The secret that all nodes of the subnet share, as new_secret makes it.
  Options &secret(std::string text) { return secret_ = std::move(text), *this; }
  /// Instead: a file with it, which only its owner can read.
  Options &secret_file(std::string path) { return secret_file_ = std::move(path), *this; }
  /// The ids of those who may join. With none, nobody may, until Mesh::allow.
  Options &allow(std::vector<std::string> ids) { return allow_ = std::move(ids), *this; }
  /// Whether authors sign their broadcasts (true). Nodes that differ never meet.
  Options &sign(bool yes) noexcept { return raw_.sign = choice(yes), *this; }
  /// Asked about whoever connects or was dialled and has proven its id: true lets it in. It runs on the library's
  /// threads, on several at the same time, and must be quick; see Mesh::on_code. Whoever it throws about stays out.
  Options &admit(std::function<bool(const Candidate &)> hook, ExceptionHandler failed = nullptr) {
    return admit_ = {std::move(hook), std::move(failed)}, *this;
  }
  /// For wss: the certificate to show, with those that lead to one that browsers trust, and its private key, as PEM.
  Options &certificate(std::string chain, std::string key) {
    return certificate_ = std::move(chain), certificate_key_ = std::move(key), *this;
  }
  /// For ws and wss: the origins of the web pages that may connect (none); a single * for all pages there are.
  Options &origins(std::vector<std::string> pages) { return origins_ = std::move(pages), *this; }
  /// Compression methods, best first, with commas between (snappy,zlib,gzip,bz2,lzma); empty for none.
  Options &compression(std::string methods) { return compression_ = std::move(methods), *this; }
  /// Another bound or time-out, by its name; settings() lists them. Times are in milliseconds, sizes in bytes.
  Options &setting(std::string name, std::int64_t value) { return settings_.emplace_back(std::move(name), value), *this; }

  /// Calls `use` with them as peernet.h has them, good for that call, but for `admit`, which only nodes have.
  template <class F>
  auto with_raw(F &&use) const {
    peernet_options raw = raw_;
    raw.listen = text(listen_);
    raw.advertise = text(advertise_);
    raw.subnet = text(subnet_);
    raw.encryption = text(encryption_);
    raw.preset = text(preset_);
    raw.data_dir = text(data_dir_);
    const std::vector<const char *> connect = texts(connect_);
    raw.connect = connect.data();
    raw.connect_count = connect.size();
    raw.identity = text(identity_);
    raw.identity_file = text(identity_file_);
    raw.secret = text(secret_);
    raw.secret_file = text(secret_file_);
    const std::vector<std::string> nobody;
    std::vector<const char *> allow = texts(allow_ ? *allow_ : nobody);
    raw.allow_count = allow.size();
    allow.push_back(nullptr);  // a list of nobody is a list
    raw.allow = allow_ ? allow.data() : nullptr;
    raw.certificate = text(certificate_);
    raw.certificate_key = text(certificate_key_);
    const std::vector<const char *> origins = texts(origins_);
    raw.origins = origins.data();
    raw.origin_count = origins.size();
    raw.compression = text(compression_);
    std::vector<peernet_setting> settings;
    for (const auto &setting : settings_) settings.push_back({Text(setting.first).c_str(), setting.second});
    raw.settings = settings.data();
    raw.setting_count = settings.size();
    return use(static_cast<const peernet_options &>(raw));
  }
  /// As with_raw, for a function that opens a node and takes `admit` over.
  template <class F>
  auto with_raw_node(F &&use) const {
    return with_raw([&](peernet_options raw) {
      if (admit_.call) {
        raw.admit = [](void *user, const peernet_candidate *who) -> std::int32_t {
          return static_cast<Admit *>(user)->run(false, Candidate(*who));
        };
        raw.admit_user = new Admit(admit_);
        raw.admit_drop = detail::drop<Admit>;
      }
      return use(static_cast<const peernet_options &>(raw));
    });
  }

 private:
  static std::int32_t choice(bool yes) noexcept { return yes ? PEERNET_YES : PEERNET_NO; }
  static const char *text(const std::optional<std::string> &text) noexcept {
    return text ? Text(*text).c_str() : nullptr;
  }
  static std::vector<const char *> texts(const std::vector<std::string> &all) {
    std::vector<const char *> pointers;
    for (const std::string &one : all) pointers.push_back(Text(one).c_str());
    return pointers;
  }

  using Admit = detail::Callback<bool(const Candidate &)>;

  std::optional<std::string> listen_, advertise_, subnet_, encryption_, preset_, data_dir_;
  std::optional<std::string> identity_, identity_file_, secret_, secret_file_, certificate_, certificate_key_;
  std::optional<std::string> compression_;
  std::vector<std::string> connect_, origins_;
  std::optional<std::vector<std::string>> allow_;
  std::vector<std::pair<std::string, std::int64_t>> settings_;
  Admit admit_;
  peernet_options raw_ = PEERNET_OPTIONS_INIT;
};

/// What became of a message that was sent.
struct Report {
  /// The message's id: the same on every node.
  std::array<std::uint8_t, 32> id;
  /// Into how many links' queues it went. 0 for a broadcast means that nobody will hear it.
  std::uint64_t links;
};

#ifndef _WIN32
/// Of two nodes with an attached connection, one is the dialler and the other the acceptor.
enum class Role : std::int32_t { dialler = PEERNET_DIALLER, acceptor = PEERNET_ACCEPTOR };
#endif

/// A node that may neither join nor be heard.
struct Ban {
  std::string peer;
  /// Seconds since 1970 UTC.
  std::int64_t until = 0;
};

/// A neighbour: a node that a link leads to directly.
struct Peer {
  std::string id;
  /// Empty if it has none.
  std::optional<std::string> address;
  /// Whether we dialled it.
  bool outgoing;
};

/// What is known of an address.
struct PeerStats {
  std::string address;
  /// Who is there, proven or by what others say.
  std::optional<std::string> id;
  /// Connections that came as far as a handshake, and those that did not.
  std::uint64_t connections_ok = 0, connections_failed = 0;
  /// Addresses that this peer named to us, and we to it.
  std::uint64_t addresses_received = 0, addresses_sent = 0;
  /// When it was a neighbour last, in seconds since 1970 UTC.
  std::optional<std::int64_t> last_seen;
  /// From the last dial to the end of its handshake.
  std::optional<double> latency_ms;
  /// Whether the program saved it.
  bool saved = false;
  /// Who named it first.
  std::optional<std::string> named_by;
};

/// A question for everyone, for Mesh::announce.
struct Query {
  /// Its type, up to 64 bytes: by it others know whether they have an answer.
  std::string kind{};
  /// The question, up to 1,024 bytes.
  std::string data{};
  /// Its id, up to 64 bytes, which means nothing to nodes; otherwise a random one.
  std::optional<std::string> id{};
  /// Over how many links it may go, 1 to 15: with 1 only neighbours are asked.
  std::uint32_t limit = 15;
  /// As if it had gone over so many links already.
  std::uint32_t hops = 0;
};

namespace detail {

/// Owns a handle of peernet.h, which `End` ends.
template <void (*End)(std::uint64_t) noexcept>
class Handle {
 public:
  explicit Handle(std::uint64_t raw = 0) noexcept : raw_(raw) {}
  Handle(Handle &&other) noexcept : raw_(other.release()) {}
  Handle &operator=(Handle &&other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Handle() { reset(0); }

  std::uint64_t get() const noexcept { return raw_; }
  std::uint64_t release() noexcept { return std::exchange(raw_, 0); }

 private:
  void reset(std::uint64_t raw) noexcept {
    const std::uint64_t before = std::exchange(raw_, raw);
    if (before != 0) End(before);
  }

  std::uint64_t raw_;
};

inline void close_mesh(peernet_mesh mesh) noexcept {
  if (peernet_mesh_close(mesh) != PEERNET_ERR_REENTRANT) return;
  try {
    std::thread([mesh] { peernet_mesh_close(mesh); }).detach();
  } catch (const std::system_error &) {
    // There are no more threads. The node stays open until the program ends.
  }
}

/// Reads a text that a function of peernet.h writes into a place.
template <class F>
Result<std::string> text(F &&write) {
  std::array<char, PEERNET_ADDRESS_SIZE> place{};
  static_assert(PEERNET_ADDRESS_SIZE >= PEERNET_ID_SIZE, "room for both");
  Status status(write(place.data(), place.size()));
  if (!status) return status;
  return std::string(place.data());
}

/// Reads values that a function of peernet.h appends to a writer.
template <class T, class F>
Result<T> values(F &&append) {
  Payload writer;
  Status status(append(writer.raw()));
  if (!status) return status;
  T found{};
  status = writer.reader().get(found);
  if (!status) return status;
  return found;
}

/// What a function of peernet.h appends to a writer.
template <class F>
Result<Payload> appended(F &&append) {
  Payload out;
  Status status(append(out.raw()));
  if (!status) return status;
  return out;
}

/// What came of a call for which there may be nothing.
template <class T>
Result<std::optional<T>> or_none(Result<T> found) {
  if (found.ok()) return std::optional<T>(std::move(*found));
  if (found.error() == Errc::end) return std::optional<T>();
  return std::move(found).status();
}

/// As values, where there may be nothing.
template <class T, class F>
Result<std::optional<T>> value_or_none(F &&append) {
  return or_none(values<T>(append));
}

inline void end_search(peernet_search search) noexcept { peernet_search_end(search); }
inline void close_book(peernet_book book) noexcept { peernet_book_close(book); }

/// What a function of peernet.h that sends reports.
template <class F>
Result<Report> sent(F &&send) {
  peernet_report raw = PEERNET_REPORT_INIT;
  Status status(send(&raw));
  if (!status) return status;
  Report report{{}, raw.links};
  std::copy(std::begin(raw.id), std::end(raw.id), report.id.begin());
  return report;
}

/// Runs a call on a thread of its own. The future may be dropped: it waits for nothing.
template <class F>
auto start(F call) {
  std::packaged_task<decltype(call())()> task(std::move(call));
  auto future = task.get_future();
  std::thread(std::move(task)).detach();
  return future;
}

/// Calls a function of a node on a thread of its own. The node's object may be moved or go meanwhile.
template <class Node, class F>
auto later(const Node &node, F call) {
  return start([handle = node.handle(), call = std::move(call)] {
    struct Borrowed {
      Node node;
      ~Borrowed() { node.release(); }
    };
    const Borrowed borrowed{Node(handle)};
    return call(borrowed.node);
  });
}

}  // namespace detail

/// Something that was found.
class Row {
 public:
  /// Owns one of peernet.h.
  explicit Row(const peernet_row *raw) noexcept : raw_(raw) {}
  bytes_view data() const noexcept { return {raw_->data, raw_->data_len}; }
  /// Its type: mostly that of the question.
  bytes_view kind() const noexcept { return {raw_->kind, raw_->kind_len}; }
  /// Its id, which whoever found it made.
  bytes_view id() const noexcept { return {raw_->id, raw_->id_len}; }
  /// The node that found it.
  std::string_view peer() const noexcept { return raw_->peer; }
  /// The links that the question might go over, and those that it came over before the last one.
  std::uint64_t limit() const noexcept { return raw_->limit; }
  std::uint64_t hops() const noexcept { return raw_->hops; }
  /// Whether it is proven that the peer found it, and what.
  bool verified() const noexcept { return raw_->verified != 0; }

 private:
  struct Free {
    void operator()(const peernet_row *row) const noexcept { peernet_row_free(row); }
  };
  std::unique_ptr<const peernet_row, Free> raw_;
};

/// A search that is under way. A loop over it ends when nothing more can come; it ends with its object.
class Search {
 public:
  /// Waits for rows, one by one. A row is good until the next comes.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Row;
    using difference_type = std::ptrdiff_t;
    using pointer = const Row *;
    using reference = const Row &;

    iterator() noexcept = default;
    const Row &operator*() const noexcept { return *row_; }
    const Row *operator->() const noexcept { return row_.get(); }
    iterator &operator++() { return read(), *this; }
    void operator++(int) { read(); }
    friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.row_ == b.row_; }
    friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

   private:
    friend class Search;
    explicit iterator(const Search &search) : search_(&search) { read(); }
    void read() {
      row_.reset();
      Result<std::optional<Row>> row = search_->next(std::nothrow);
      if (row.error() == Errc::closed) return;
      if (std::optional<Row> found = std::move(row).value()) row_ = std::make_shared<const Row>(std::move(*found));
    }

    const Search *search_ = nullptr;
    std::shared_ptr<const Row> row_;
  };

  /// Owns a handle of peernet.h.
  explicit Search(peernet_search handle) noexcept : handle_(handle) {}
  /// Waits for the next row that is found. Nothing when the search is over; Errc::timed_out if nothing came in time,
  /// Errc::closed once it was ended.
  std::optional<Row> next(Timeout timeout = forever) const { return next(std::nothrow, timeout).value(); }
  Result<std::optional<Row>> next(std::nothrow_t, Timeout timeout = forever) const noexcept {
    const peernet_row *row = nullptr;
    Status status(peernet_search_next(handle_.get(), timeout.milliseconds(), &row));
    if (status.error() == Errc::end) return std::optional<Row>();
    if (!status) return status;
    return std::optional<Row>(Row(row));
  }
  iterator begin() const { return iterator(*this); }
  iterator end() const noexcept { return {}; }
  /// Ends it; whoever waits for it on another thread is released.
  void stop() const noexcept { peernet_search_end(handle_.get()); }

 private:
  detail::Handle<detail::end_search> handle_;
};

namespace detail {

/// A struct that is a map by the names of its fields; values that a later library adds are passed over.
struct Fields {
  template <class T>
  Fields &operator()(const char *name, T &place) {
    if (status) status = values[name].reader().get(place);
    return *this;
  }
  Status status;
  std::map<std::string_view, Value> values;
};

inline Fields fields(Reader &in) {
  Fields all;
  all.status = in.get(all.values);
  return all;
}

}  // namespace detail

template <>
struct Codec<Peer> {
  static Status read(Reader &in, Peer &peer) {
    return detail::fields(in)("id", peer.id)("address", peer.address)("outgoing", peer.outgoing).status;
  }
};

template <>
struct Codec<Ban> {
  static Status read(Reader &in, Ban &ban) { return detail::fields(in)("peer", ban.peer)("until", ban.until).status; }
};

template <>
struct Codec<PeerStats> {
  static Status read(Reader &in, PeerStats &stats) {
    return detail::fields(in)("address", stats.address)("id", stats.id)("connections_ok", stats.connections_ok)(
               "connections_failed", stats.connections_failed)("addresses_received", stats.addresses_received)(
               "addresses_sent", stats.addresses_sent)("last_seen", stats.last_seen)("latency_ms", stats.latency_ms)(
               "saved", stats.saved)("named_by", stats.named_by)
        .status;
  }
};

/// A node of a mesh. It is closed with its object; within a callback, where nothing can be waited for, by another
/// thread.
class Mesh {
 public:
  /// Reads events one by one as they come, and waits for them; ends when the node is closed. An event is good until
  /// the next is read. Nothing is lost where a loop is left.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Event;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Event;

    iterator() noexcept = default;
    Event operator*() const noexcept { return (*batch_)[0]; }
    iterator &operator++() { return next(), *this; }
    void operator++(int) { next(); }
    friend bool operator==(const iterator &a, const iterator &b) noexcept { return !a.batch_ == !b.batch_; }
    friend bool operator!=(const iterator &a, const iterator &b) noexcept { return !(a == b); }

   private:
    friend class Mesh;
    iterator(peernet_mesh mesh, bool messages) : mesh_(mesh), messages_(messages) { next(); }
    void next() {
      do {
        batch_.reset();  // before the wait, as its memory is not needed meanwhile
        auto batch = poll_raw(mesh_, 1, forever);
        if (batch.error() == Errc::closed) return;
        batch_ = std::make_shared<Batch>(std::move(batch).value());
        if (messages_ && (**this).type() == EventType::lagged)
          throw Error(Errc::lagged, std::to_string((**this).count()) + " messages were dropped, as they were read too slowly");
      } while (messages_ && !(**this).is_message());
    }

    peernet_mesh mesh_ = 0;
    bool messages_ = false;
    std::shared_ptr<Batch> batch_;
  };

  /// What range-for needs.
  class Range {
   public:
    iterator begin() const { return {mesh_, true}; }
    iterator end() const noexcept { return {}; }

   private:
    friend class Mesh;
    explicit Range(peernet_mesh mesh) noexcept : mesh_(mesh) {}
    peernet_mesh mesh_;
  };

  /// Opens a node: it listens, and connects to those named in the options.
  explicit Mesh(const Options &options = {}) : Mesh(open(std::nothrow, options).value()) {}
  static Result<Mesh> open(std::nothrow_t, const Options &options = {}) noexcept {
    return opened<Mesh>(peernet_mesh_open, options);
  }
  /// No node, as if moved from.
  Mesh(std::nullptr_t) noexcept {}
  /// Owns a handle of peernet.h.
  explicit Mesh(peernet_mesh handle) noexcept : handle_(handle) {}

  /// Whether it has a node, which may be closed.
  explicit operator bool() const noexcept { return handle() != 0; }
  /// For functions of peernet.h. It stays the Mesh's.
  peernet_mesh handle() const noexcept { return handle_.get(); }
  /// The same, and it is the caller's to close.
  peernet_mesh release() noexcept { return handle_.release(); }

  /// Leaves: writes what is queued, within the node's own limit of some seconds, and stops. Whoever waits on another
  /// thread is released. If it is closed already that is Errc::closed.
  void close() const { close(std::nothrow).raise(); }
  Status close(std::nothrow_t) const noexcept { return Status(peernet_mesh_close(handle())); }
  std::future<void> close_async() const {
    return detail::start([mesh = handle()] { Status(peernet_mesh_close(mesh)).raise(); });
  }

  /// The node's id.
  std::string id() const { return id(std::nothrow).value(); }
  Result<std::string> id(std::nothrow_t) const noexcept { return text(peernet_mesh_id); }
  /// The address that others are told.
  std::string address() const { return address(std::nothrow).value(); }
  Result<std::string> address(std::nothrow_t) const noexcept { return text(peernet_mesh_address); }
  /// The address that it listens on.
  std::string listening() const { return listening(std::nothrow).value(); }
  Result<std::string> listening(std::nothrow_t) const noexcept { return text(peernet_mesh_listening); }
  /// The id of the subnet, which nodes must have in common to join each other.
  std::string protocol() const { return protocol(std::nothrow).value(); }
  Result<std::string> protocol(std::nothrow_t) const noexcept { return text(peernet_mesh_protocol); }

  /// Connects to the node at host:port or id@host:port, waits until the handshake is done, and gives the node's id.
  /// From then on the link is dialled again whenever it breaks, until disconnect or close.
  std::string connect(const Text &address, Timeout timeout = forever) const {
    return connect(std::nothrow, address, timeout).value();
  }
  Result<std::string> connect(std::nothrow_t, const Text &address, Timeout timeout = forever) const noexcept {
    return detail::text([&](char *id, std::size_t size) {
      return peernet_mesh_connect(handle(), address.c_str(), timeout.milliseconds(), id, size);
    });
  }
  std::future<std::string> connect_async(std::string address, Timeout timeout = forever) const {
    return detail::later(*this, [=](const Mesh &mesh) { return mesh.connect(address, timeout); });
  }
  /// Closes the link to a neighbour, and does not dial it again.
  void disconnect(const Text &peer, Timeout timeout = forever) const { disconnect(std::nothrow, peer, timeout).raise(); }
  Status disconnect(std::nothrow_t, const Text &peer, Timeout timeout = forever) const noexcept {
    return Status(peernet_mesh_disconnect(handle(), peer.c_str(), timeout.milliseconds()));
  }

  /// Sends values to every node of the subnet: mesh.broadcast("hello", 5). While a neighbour's queue is full this
  /// waits; to bound that, give pack("hello", 5) and a time-out.
  template <class... T, class = detail::if_writable<T...>>
  Report broadcast(const T &...values) const {
    return broadcast(pack(values...));
  }
  Report broadcast(const Payload &payload, Timeout timeout = forever) const {
    return broadcast(std::nothrow, payload, timeout).value();
  }
  Result<Report> broadcast(std::nothrow_t, const Payload &payload, Timeout timeout = forever) const noexcept {
    return detail::sent([&](peernet_report *report) {
      const bytes_view bytes = payload.bytes();
      return peernet_mesh_broadcast(handle(), bytes.data(), bytes.size(), timeout.milliseconds(), report);
    });
  }
  template <class... T, class = detail::if_writable<T...>>
  Result<Report> broadcast(std::nothrow_t, const T &...values) const noexcept {
    return packed([&](const Payload &payload) { return broadcast(std::nothrow, payload); }, values...);
  }

  /// As broadcast, under a code of the program's own, 0x31 or more: only nodes with a hook for it see it, all relay it.
  template <class... T, class = detail::if_writable<T...>>
  Report broadcast_as(std::uint64_t code, const T &...values) const {
    return broadcast_as(code, pack(values...));
  }
  Report broadcast_as(std::uint64_t code, const Payload &payload, Timeout timeout = forever) const {
    return broadcast_as(std::nothrow, code, payload, timeout).value();
  }
  Result<Report> broadcast_as(std::nothrow_t, std::uint64_t code, const Payload &payload,
                              Timeout timeout = forever) const noexcept {
    return detail::sent([&](peernet_report *report) {
      const bytes_view bytes = payload.bytes();
      return peernet_mesh_broadcast_as(handle(), code, bytes.data(), bytes.size(), timeout.milliseconds(), report);
    });
  }

  /// Sends values to one node, by its id: mesh.send(id, "hello", 5). If it is no neighbour, the subnet is asked for its
  /// address and it is dialled.
  template <class... T, class = detail::if_writable<T...>>
  Report send(const Text &peer, const T &...values) const {
    return send(peer, pack(values...));
  }
  Report send(const Text &peer, const Payload &payload, Timeout timeout = forever) const {
    return send(std::nothrow, peer, payload, timeout).value();
  }
  Result<Report> send(std::nothrow_t, const Text &peer, const Payload &payload,
                      Timeout timeout = forever) const noexcept {
    return detail::sent([&](peernet_report *report) {
      const bytes_view bytes = payload.bytes();
      return peernet_mesh_send(handle(), peer.c_str(), bytes.data(), bytes.size(), timeout.milliseconds(), report);
    });
  }
  template <class... T, class = detail::if_writable<T...>>
  Result<Report> send(std::nothrow_t, const Text &peer, const T &...values) const noexcept {
    return packed([&](const Payload &payload) { return send(std::nothrow, peer, payload); }, values...);
  }
  std::future<Report> send_async(std::string peer, Payload payload, Timeout timeout = forever) const {
    return detail::later(*this, [peer = std::move(peer), payload = shared(std::move(payload)), timeout](const Mesh &mesh) {
      return mesh.send(peer, *payload, timeout);
    });
  }

  /// As send, under a code of the program's own, 0x31 or more.
  template <class... T, class = detail::if_writable<T...>>
  Report send_as(const Text &peer, std::uint64_t code, const T &...values) const {
    return send_as(peer, code, pack(values...));
  }
  Report send_as(const Text &peer, std::uint64_t code, const Payload &payload, Timeout timeout = forever) const {
    return send_as(std::nothrow, peer, code, payload, timeout).value();
  }
  Result<Report> send_as(std::nothrow_t, const Text &peer, std::uint64_t code, const Payload &payload,
                         Timeout timeout = forever) const noexcept {
    return detail::sent([&](peernet_report *report) {
      const bytes_view bytes = payload.bytes();
      return peernet_mesh_send_as(handle(), peer.c_str(), code, bytes.data(), bytes.size(), timeout.milliseconds(),
                                  report);
    });
  }

  /// Answers the author of a message alone, wherever it is in the subnet.
  template <class... T, class = detail::if_writable<T...>>
  Report reply(const Event &message, const T &...values) const {
    return reply(message, pack(values...));
  }
  Report reply(const Event &message, const Payload &payload, Timeout timeout = forever) const {
    return reply(std::nothrow, message, payload, timeout).value();
  }
  Result<Report> reply(std::nothrow_t, const Event &message, const Payload &payload,
                       Timeout timeout = forever) const noexcept {
    return detail::sent([&](peernet_report *report) {
      const bytes_view bytes = payload.bytes();
      return peernet_mesh_reply(handle(), &message.raw(), bytes.data(), bytes.size(), timeout.milliseconds(), report);
    });
  }

  /// Asks one node something, waits for its answer, and gives that: mesh.request(id, "sum", 1, 2).reader().read<int>().
  /// With a time-out: mesh.request(id, pack("sum", 1, 2), 5s). Requests come as events, once asked for with want.
  template <class... T, class = detail::if_writable<T...>>
  Payload request(const Text &peer, const T &...values) const {
    return request(peer, pack(values...));
  }
  Payload request(const Text &peer, const Payload &payload, Timeout timeout = forever) const {
    return request(std::nothrow, peer, payload, timeout).value();
  }
  Result<Payload> request(std::nothrow_t, const Text &peer, const Payload &payload,
                          Timeout timeout = forever) const noexcept {
    const bytes_view bytes = payload.bytes();
    return detail::appended([&](peernet_writer *answer) {
      return peernet_mesh_request(handle(), peer.c_str(), bytes.data(), bytes.size(), timeout.milliseconds(), answer);
    });
  }
  std::future<Payload> request_async(std::string peer, Payload payload, Timeout timeout = forever) const {
    return detail::later(*this, [peer = std::move(peer), payload = shared(std::move(payload)), timeout](
                                    const Mesh &mesh) { return mesh.request(peer, *payload, timeout); });
  }
  /// Answers a request by the token of its event, also when the batch is long gone. Errc::unanswered if there is no
  /// such request any more.
  template <class... T, class = detail::if_writable<T...>>
  void respond(std::uint64_t token, const T &...values) const {
    respond(token, pack(values...));
  }
  void respond(std::uint64_t token, const Payload &payload, Timeout timeout = forever) const {
    respond(std::nothrow, token, payload, timeout).raise();
  }
  Status respond(std::nothrow_t, std::uint64_t token, const Payload &payload,
                 Timeout timeout = forever) const noexcept {
    const bytes_view bytes = payload.bytes();
    return Status(peernet_mesh_respond(handle(), token, bytes.data(), bytes.size(), timeout.milliseconds()));
  }
  /// Lets a request go, which tells its asker at once that no answer will come.
  void refuse(std::uint64_t token) const { refuse(std::nothrow, token).raise(); }
  Status refuse(std::nothrow_t, std::uint64_t token) const noexcept {
    return Status(peernet_mesh_refuse(handle(), token));
  }

  /// Asks everyone something: a question of this type, up to 64 bytes, with this data, up to 1,024. Searches of others
  /// come as events, once asked for with want. Errc::needs_tls where 0.7 is spoken.
  ///
  ///     for (const peernet::Row &row : mesh.search("file", "song.ogg")) std::cout << row.peer() << " has it\n";
  Search search(bytes_view kind, bytes_view data) const { return search(std::nothrow, kind, data).value(); }
  Result<Search> search(std::nothrow_t, bytes_view kind, bytes_view data) const noexcept {
    peernet_search search = 0;
    Status status(peernet_mesh_search(handle(), kind.data(), kind.size(), data.data(), data.size(), &search));
    if (!status) return status;
    return Search(search);
  }
  /// As search, with everything that can be said about a question.
  Search announce(const Query &query) const { return announce(std::nothrow, query).value(); }
  Result<Search> announce(std::nothrow_t, const Query &query) const noexcept {
    peernet_query raw = PEERNET_QUERY_INIT;
    raw.kind = query.kind.data();
    raw.kind_len = query.kind.size();
    raw.data = query.data.data();
    raw.data_len = query.data.size();
    raw.id = query.id ? query.id->data() : nullptr;
    raw.id_len = query.id ? query.id->size() : 0;
    raw.limit = query.limit;
    raw.hops = query.hops;
    peernet_search search = 0;
    Status status(peernet_mesh_announce(handle(), &raw, &search));
    if (!status) return status;
    return Search(search);
  }
  /// Sends something that was found, up to 1,024 bytes, back to whoever asked, by the token of the search's event. Up
  /// to eight times for one question. Whether it arrives is not known.
  void found(std::uint64_t token, bytes_view data) const { found(std::nothrow, token, data).raise(); }
  Status found(std::nothrow_t, std::uint64_t token, bytes_view data) const noexcept {
    return Status(peernet_mesh_found(handle(), token, data.data(), data.size()));
  }
  /// As found, with an id and a type of its own, up to 64 bytes each.
  void found_as(std::uint64_t token, bytes_view id, bytes_view kind, bytes_view data) const {
    found_as(std::nothrow, token, id, kind, data).raise();
  }
  Status found_as(std::nothrow_t, std::uint64_t token, bytes_view id, bytes_view kind, bytes_view data) const noexcept {
    return Status(peernet_mesh_found_as(handle(), token, id.data(), id.size(), kind.data(), kind.size(), data.data(),
                                        data.size()));
  }

  /// Saves the address of a node of the subnet: it is dialled when links are wanted, and known until it is removed.
  void save(const Text &address) const { save(std::nothrow, address).raise(); }
  Status save(std::nothrow_t, const Text &address) const noexcept {
    return Status(peernet_mesh_save(handle(), address.c_str()));
  }
  /// Removes an address, which is not dialled any more, and for a day not taken from peers either.
  void remove(const Text &address) const { remove(std::nothrow, address).raise(); }
  Status remove(std::nothrow_t, const Text &address) const noexcept {
    return Status(peernet_mesh_remove(handle(), address.c_str()));
  }
  /// All known addresses, with what came of them.
  std::vector<PeerStats> known() const { return known(std::nothrow).value(); }
  Result<std::vector<PeerStats>> known(std::nothrow_t) const noexcept {
    return detail::values<std::vector<PeerStats>>([&](peernet_writer *out) { return peernet_mesh_known(handle(), out); });
  }
  /// What is known of an address; nothing if it is not.
  std::optional<PeerStats> peer_stats(const Text &address) const { return peer_stats(std::nothrow, address).value(); }
  Result<std::optional<PeerStats>> peer_stats(std::nothrow_t, const Text &address) const noexcept {
    return detail::value_or_none<PeerStats>(
        [&](peernet_writer *out) { return peernet_mesh_peer_stats(handle(), address.c_str(), out); });
  }
  /// The neighbours as connect takes them: id@host:port, or the id alone of one that has no address.
  std::vector<std::string> connections() const { return connections(std::nothrow).value(); }
  Result<std::vector<std::string>> connections(std::nothrow_t) const noexcept {
    using Addresses = std::vector<std::string>;
    return detail::values<Addresses>([&](peernet_writer *out) { return peernet_mesh_connections(handle(), out); });
  }

  /// Has `callback` called for every event from now on, in place of poll and loops (which give Errc::busy then): in
  /// order, never two at once, on one thread of the library's. It stays until the node is closed. In it everything works
  /// that neither waits nor receives, such as sending with no_wait; everything else is Errc::reentrant. For what it
  /// throws, see ExceptionHandler; the event is over then. It must not hold on to views.
  void on_event(std::function<void(const Event &)> callback, ExceptionHandler failed = nullptr) const {
    on_event(std::nothrow, std::move(callback), std::move(failed)).raise();
  }
  Status on_event(std::nothrow_t, std::function<void(const Event &)> callback,
                  ExceptionHandler failed = nullptr) const noexcept {
    using Callback = detail::Callback<void(const Event &)>;
    if (!callback) return {Errc::argument, "the callback is empty"};
    const auto call = [](void *user, const peernet_event *event) { static_cast<Callback *>(user)->run(0, Event(*event)); };
    void *user = new Callback{std::move(callback), std::move(failed)};
    return Status(peernet_mesh_on_event(handle(), call, user, detail::drop<Callback>));
  }
  /// Has `hook` see every message with this code first: it takes the message by returning true, and others go on to
  /// whoever reads events. For 0 (broadcasts), 2 (messages to one node), and codes from 0x31 on, which only hooks see. A
  /// new hook replaces the old one, and nullptr ends it. It runs on the library's threads, on several at the same time,
  /// and must be quick; what holds for on_event holds for it. A message that it throws about it does not take.
  void on_code(std::uint64_t code, std::function<bool(const Event &)> hook, ExceptionHandler failed = nullptr) const {
    on_code(std::nothrow, code, std::move(hook), std::move(failed)).raise();
  }
  Status on_code(std::nothrow_t, std::uint64_t code, std::function<bool(const Event &)> hook,
                 ExceptionHandler failed = nullptr) const noexcept {
    using Hook = detail::Callback<bool(const Event &)>;
    if (!hook) return Status(peernet_mesh_on_code(handle(), code, nullptr, nullptr, nullptr));
    const auto call = [](void *user, const peernet_event *message) -> std::int32_t {
      return static_cast<Hook *>(user)->run(false, Event(*message));
    };
    void *user = new Hook{std::move(hook), std::move(failed)};
    return Status(peernet_mesh_on_code(handle(), code, call, user, detail::drop<Hook>));
  }

  /// Makes these kinds of event come, from now on: want(peernet::Want::requests | peernet::Want::changes).
  void want(Want kinds) const { want(std::nothrow, kinds).raise(); }
  Status want(std::nothrow_t, Want kinds) const noexcept {
    return Status(peernet_mesh_want(handle(), static_cast<std::uint32_t>(kinds)));
  }
  /// Waits for events and takes those that wait, `most` at most: the fastest way to read a stream. Empty if none came
  /// in time; Errc::closed when the node is closed, by whichever thread.
  ///
  ///     while (auto batch = mesh.poll()) for (const peernet::Event &event : batch) use(event);
  Batch poll(std::size_t most = 64, Timeout timeout = forever) const { return poll(std::nothrow, most, timeout).value(); }
  Result<Batch> poll(std::nothrow_t, std::size_t most = 64, Timeout timeout = forever) const noexcept {
    return poll_raw(handle(), most, timeout);
  }
  /// A file descriptor that is readable while events wait, for epoll and its like. It is the node's, and gone with it.
  int poll_fd() const { return poll_fd(std::nothrow).value(); }
  Result<int> poll_fd(std::nothrow_t) const noexcept {
    std::int32_t fd = -1;
    Status status(peernet_mesh_poll_fd(handle(), &fd));
    if (!status) return status;
    return static_cast<int>(fd);
  }
  /// All events, as they come, until the node is closed. Poll is faster where there are many.
  iterator begin() const { return {handle(), false}; }
  iterator end() const noexcept { return {}; }
  /// As begin and end, but only messages; other events are passed over. Messages that were dropped because they were
  /// read too slowly are Errc::lagged, after which another loop goes on.
  Range messages() const noexcept { return Range(handle()); }

  /// The neighbours.
  std::vector<Peer> peers() const { return peers(std::nothrow).value(); }
  Result<std::vector<Peer>> peers(std::nothrow_t) const noexcept {
    return detail::values<std::vector<Peer>>([&](peernet_writer *out) { return peernet_mesh_peers(handle(), out); });
  }
  /// Everything that the node counts, by name.
  std::map<std::string, std::uint64_t> stats() const { return stats(std::nothrow).value(); }
  Result<std::map<std::string, std::uint64_t>> stats(std::nothrow_t) const noexcept {
    using Stats = std::map<std::string, std::uint64_t>;
    return detail::values<Stats>([&](peernet_writer *out) { return peernet_mesh_stats(handle(), out); });
  }
  /// One of it.
  std::uint64_t stat(const Text &name) const { return stat(std::nothrow, name).value(); }
  Result<std::uint64_t> stat(std::nothrow_t, const Text &name) const noexcept {
    std::uint64_t value = 0;
    Status status(peernet_mesh_stat(handle(), name.c_str(), &value));
    if (!status) return status;
    return value;
  }

  /// The node's identity, for Options::identity: with it a node has the same id again.
  std::string identity() const { return identity(std::nothrow).value(); }
  Result<std::string> identity(std::nothrow_t) const noexcept { return text(peernet_mesh_identity); }
  /// Lets a node join, by its id, besides those of Options::allow. The first closes the subnet to all others.
  void allow(const Text &peer) const { allow(std::nothrow, peer).raise(); }
  Status allow(std::nothrow_t, const Text &peer) const noexcept { return Status(peernet_mesh_allow(handle(), peer.c_str())); }
  /// Takes a node off the list of those that may join, and closes its links.
  void disallow(const Text &peer) const { disallow(std::nothrow, peer).raise(); }
  Status disallow(std::nothrow_t, const Text &peer) const noexcept {
    return Status(peernet_mesh_disallow(handle(), peer.c_str()));
  }
  /// Lets a node neither join nor be heard for some time.
  void ban(const Text &peer, std::chrono::seconds time) const { ban(std::nothrow, peer, time).raise(); }
  Status ban(std::nothrow_t, const Text &peer, std::chrono::seconds time) const noexcept {
    const auto seconds = time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
    return Status(peernet_mesh_ban(handle(), peer.c_str(), seconds));
  }
  /// Ends a ban.
  void unban(const Text &peer) const { unban(std::nothrow, peer).raise(); }
  Status unban(std::nothrow_t, const Text &peer) const noexcept { return Status(peernet_mesh_unban(handle(), peer.c_str())); }
  /// The bans in force.
  std::vector<Ban> bans() const { return bans(std::nothrow).value(); }
  Result<std::vector<Ban>> bans(std::nothrow_t) const noexcept {
    return detail::values<std::vector<Ban>>([&](peernet_writer *out) { return peernet_mesh_bans(handle(), out); });
  }
#ifndef _WIN32
  /// Makes a link of open file descriptors in place of a TCP connection (both the same for a socket), waits for the
  /// handshake, and gives the id of who is there. Both belong to the library from now on, whatever comes of it.
  std::string attach(int input, int output, Role role, Timeout timeout = forever) const {
    return attach(std::nothrow, input, output, role, timeout).value();
  }
  Result<std::string> attach(std::nothrow_t, int input, int output, Role role,
                             Timeout timeout = forever) const noexcept {
    return detail::text([&](char *id, std::size_t size) {
      return peernet_mesh_attach_fd(handle(), input, output, static_cast<std::int32_t>(role), timeout.milliseconds(), id,
                                    size);
    });
  }
#endif

  /// Waits until everything that is to outlive the node and happened before is on the disk.
  void flush(Timeout timeout = forever) const { flush(std::nothrow, timeout).raise(); }
  Status flush(std::nothrow_t, Timeout timeout = forever) const noexcept {
    return Status(peernet_mesh_flush(handle(), timeout.milliseconds()));
  }
  std::future<void> flush_async(Timeout timeout = forever) const {
    return detail::later(*this, [=](const Mesh &mesh) { mesh.flush(timeout); });
  }

 protected:
  template <class Node>
  static Result<Node> opened(peernet_status (*open)(const peernet_options *, peernet_mesh *), const Options &options) {
    peernet_mesh handle = 0;
    Status status(options.with_raw_node([&](const peernet_options &raw) { return open(&raw, &handle); }));
    if (!status) return status;
    return Node(handle);
  }

  static std::shared_ptr<const Payload> shared(Payload payload) {
    return std::make_shared<const Payload>(std::move(payload));
  }

  /// Calls `use` with the values, packed.
  template <class F, class... T>
  static auto packed(F &&use, const T &...values) -> decltype(use(Payload())) {
    Payload writer;
    Status status = writer.write(std::nothrow, values...);
    if (!status) return status;
    return use(writer);
  }

 private:
  static Result<Batch> poll_raw(peernet_mesh mesh, std::size_t most, Timeout timeout) {
    peernet_batch *batch = nullptr;
    const peernet_status status = peernet_mesh_poll(mesh, most, timeout.milliseconds(), &batch);
    if (status == PEERNET_OK || status == PEERNET_ERR_TIMED_OUT) return Batch(batch);
    return Status(status);
  }

  Result<std::string> text(peernet_status (*get)(peernet_mesh, char *, std::size_t)) const {
    return detail::text([&](char *place, std::size_t size) { return get(handle(), place, size); });
  }

  detail::Handle<detail::close_mesh> handle_;
};

/// Keys with their values, as they were at one moment.
///
///     for (const auto &item : table.items()) std::cout << item.key() << '\n';
class Items {
 public:
  /// A key and its value, good for as long as its Items.
  class Item {
   public:
    std::string_view key() const noexcept { return {raw_->key, raw_->key_len}; }
    Value value() const { return reader().read<Value>(); }
    /// The value, without a copy of it.
    Reader reader() const noexcept { return Reader(bytes_view(raw_->value, raw_->value_len)); }

   private:
    friend class Items;
    explicit Item(const peernet_item *raw) noexcept : raw_(raw) {}
    const peernet_item *raw_;
  };

  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Item;

    iterator() noexcept = default;
    Item operator*() const noexcept { return Item(peernet_items_at(items_, at_)); }
    iterator &operator++() noexcept { return at_++, *this; }
    iterator operator++(int) noexcept { return {items_, at_++}; }
    friend bool operator==(iterator a, iterator b) noexcept { return a.at_ == b.at_; }
    friend bool operator!=(iterator a, iterator b) noexcept { return a.at_ != b.at_; }

   private:
    friend class Items;
    iterator(const peernet_items *items, std::size_t at) noexcept : items_(items), at_(at) {}

    const peernet_items *items_ = nullptr;
    std::size_t at_ = 0;
  };

  /// Owns those of peernet.h.
  explicit Items(peernet_items *raw) noexcept : raw_(raw) {}
  std::size_t size() const noexcept { return peernet_items_len(raw_.get()); }
  bool empty() const noexcept { return size() == 0; }
  /// One of size().
  Item operator[](std::size_t at) const noexcept { return Item(peernet_items_at(raw_.get(), at)); }
  iterator begin() const noexcept { return {raw_.get(), 0}; }
  iterator end() const noexcept { return {raw_.get(), size()}; }

 private:
  struct Free {
    void operator()(peernet_items *items) const noexcept { peernet_items_free(items); }
  };
  std::unique_ptr<peernet_items, Free> raw_;
};

/// The node of a table: keys and values that every node of the subnet holds. It is a mesh too. Reading is local: it
/// tells what this node has heard so far. A change is made here at once, and goes to everyone else. Changes by anyone
/// come as events, once asked for with want(peernet::Want::changes).
///
///     peernet::SyncTable table(peernet::Options().connect("example.org:4444"));
///     table.set("motd", "hello");
///     if (auto text = table.get<std::string>("motd")) std::cout << *text << '\n';
class SyncTable : public Mesh {
 public:
  /// Opens a node. Nodes with and without leases never meet.
  explicit SyncTable(const Options &options = {}) : SyncTable(open(std::nothrow, options).value()) {}
  static Result<SyncTable> open(std::nothrow_t, const Options &options = {}) noexcept {
    return opened<SyncTable>(peernet_table_open, options);
  }
  /// No node, as if moved from.
  SyncTable(std::nullptr_t) noexcept : Mesh(nullptr) {}
  /// Owns a handle of peernet.h.
  explicit SyncTable(peernet_table handle) noexcept : Mesh(handle) {}

  /// The value of a key, if it has one: Errc::type if that is not a T, which must not be a view.
  template <class T = Value>
  std::optional<T> get(bytes_view key) const {
    return get<T>(std::nothrow, key).value();
  }
  template <class T = Value>
  Result<std::optional<T>> get(std::nothrow_t, bytes_view key) const noexcept {
    static_assert(!detail::is_one_of<T, std::string_view, bytes_view>, "there is nothing that it could view");
    return detail::value_or_none<T>(
        [&](peernet_writer *out) { return peernet_table_get(handle(), key.data(), key.size(), out); });
  }
  bool contains(bytes_view key) const { return contains(std::nothrow, key).value(); }
  Result<bool> contains(std::nothrow_t, bytes_view key) const noexcept {
    std::int32_t found = 0;
    Status status(peernet_table_contains(handle(), key.data(), key.size(), &found));
    if (!status) return status;
    return found != 0;
  }
  /// The number of keys that have a value.
  std::size_t size() const { return size(std::nothrow).value(); }
  Result<std::size_t> size(std::nothrow_t) const noexcept {
    std::size_t found = 0;
    Status status(peernet_table_len(handle(), &found));
    if (!status) return status;
    return found;
  }
  bool empty() const { return size() == 0; }
  /// All keys with their values, as they are at one moment and in no particular order.
  Items items() const { return items(std::nothrow).value(); }
  Result<Items> items(std::nothrow_t) const noexcept {
    peernet_items *found = nullptr;
    Status status(peernet_table_items(handle(), &found));
    if (!status) return status;
    return Items(found);
  }
  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const Items::Item &item : items()) all.emplace_back(item.key());
    return all;
  }
  std::vector<Value> values() const {
    std::vector<Value> all;
    for (const Items::Item &item : items()) all.push_back(item.value());
    return all;
  }
  /// Who set a key last; nothing if it has no value.
  std::optional<std::string> owner(bytes_view key) const { return owner(std::nothrow, key).value(); }
  Result<std::optional<std::string>> owner(std::nothrow_t, bytes_view key) const noexcept {
    return detail::or_none(detail::text([&](char *place, std::size_t size) {
      return peernet_table_owner(handle(), key.data(), key.size(), place, size);
    }));
  }
  /// When a key was set last, by its owner's clock; nothing if it has no value.
  std::optional<std::chrono::system_clock::time_point> time(bytes_view key) const {
    return time(std::nothrow, key).value();
  }
  Result<std::optional<std::chrono::system_clock::time_point>> time(std::nothrow_t, bytes_view key) const noexcept {
    std::int64_t found = 0;
    Status status(peernet_table_time(handle(), key.data(), key.size(), &found));
    using Time = std::chrono::system_clock::time_point;
    if (status.error() == Errc::end) return std::optional<Time>();
    if (!status) return status;
    return std::optional<Time>(Time(std::chrono::seconds(found)));
  }
  /// For how long nobody but its owner can change a key: zero if anyone can; nothing if it has no value.
  std::optional<std::chrono::milliseconds> lease(bytes_view key) const { return lease(std::nothrow, key).value(); }
  Result<std::optional<std::chrono::milliseconds>> lease(std::nothrow_t, bytes_view key) const noexcept {
    using std::chrono::milliseconds;
    std::uint64_t found = 0;
    Status status(peernet_table_lease(handle(), key.data(), key.size(), &found));
    if (status.error() == Errc::end) return std::optional<milliseconds>();
    if (!status) return status;
    return std::optional<milliseconds>(milliseconds(found));
  }

  /// Gives a key a value, for all nodes: table.set("point", peernet::Value::map({{"x", 1}})). Errc::lease while it is
  /// another's.
  template <class T, class = detail::if_writable<T>>
  Report set(bytes_view key, const T &value, Timeout timeout = forever) const {
    return set(std::nothrow, key, value, timeout).value();
  }
  template <class T, class = detail::if_writable<T>>
  Result<Report> set(std::nothrow_t, bytes_view key, const T &value, Timeout timeout = forever) const noexcept {
    return change(peernet_table_set, key, value, timeout);
  }
  std::future<Report> set_async(std::string key, Value value, Timeout timeout = forever) const {
    return detail::later(*this, [key = std::move(key), value = std::move(value), timeout](const SyncTable &table) {
      return table.set(key, value, timeout);
    });
  }
  /// Merges the entries of a map into the map that is the key's value, one level deep; a key without a value gets the
  /// map. Errc::not_a_map if either of the two is none.
  template <class T, class = detail::if_writable<T>>
  Report delta(bytes_view key, const T &map, Timeout timeout = forever) const {
    return delta(std::nothrow, key, map, timeout).value();
  }
  template <class T, class = detail::if_writable<T>>
  Result<Report> delta(std::nothrow_t, bytes_view key, const T &map, Timeout timeout = forever) const noexcept {
    return change(peernet_table_delta, key, map, timeout);
  }
  std::future<Report> delta_async(std::string key, Value map, Timeout timeout = forever) const {
    return detail::later(*this, [key = std::move(key), map = std::move(map), timeout](const SyncTable &table) {
      return table.delta(key, map, timeout);
    });
  }
  /// Sets many keys, those of a map, in its order and up to the first error.
  template <class T, class = detail::if_writable<T>>
  void update(const T &map, Timeout timeout = forever) const {
    update(std::nothrow, map, timeout).raise();
  }
  template <class T, class = detail::if_writable<T>>
  Status update(std::nothrow_t, const T &map, Timeout timeout = forever) const noexcept {
    Payload payload;
    Status status = payload.put(map);
    if (!status) return status;
    const bytes_view bytes = payload.bytes();
    return Status(peernet_table_update(handle(), bytes.data(), bytes.size(), timeout.milliseconds()));
  }
  std::future<void> update_async(Value map, Timeout timeout = forever) const {
    return detail::later(*this, [map = std::move(map), timeout](const SyncTable &table) { table.update(map, timeout); });
  }
  /// Takes a key's value away, for all nodes, which elsewhere is called delete. Nothing if it has none.
  std::optional<Report> erase(bytes_view key, Timeout timeout = forever) const {
    return erase(std::nothrow, key, timeout).value();
  }
  Result<std::optional<Report>> erase(std::nothrow_t, bytes_view key, Timeout timeout = forever) const noexcept {
    return detail::or_none(detail::sent([&](peernet_report *report) {
      return peernet_table_delete(handle(), key.data(), key.size(), timeout.milliseconds(), report);
    }));
  }
  std::future<std::optional<Report>> erase_async(std::string key, Timeout timeout = forever) const {
    return detail::later(*this, [key = std::move(key), timeout](const SyncTable &table) {
      return table.erase(key, timeout);
    });
  }
  /// Takes a key's value away, and gives it. Nothing if it has none.
  std::optional<Value> pop(bytes_view key, Timeout timeout = forever) const {
    return pop(std::nothrow, key, timeout).value();
  }
  Result<std::optional<Value>> pop(std::nothrow_t, bytes_view key, Timeout timeout = forever) const noexcept {
    return detail::value_or_none<Value>([&](peernet_writer *out) {
      return peernet_table_pop(handle(), key.data(), key.size(), timeout.milliseconds(), out);
    });
  }
  /// Takes the value of some key away that this node may change, and gives both. Nothing if there is no such key.
  std::optional<std::pair<std::string, Value>> popitem(Timeout timeout = forever) const {
    return popitem(std::nothrow, timeout).value();
  }
  Result<std::optional<std::pair<std::string, Value>>> popitem(std::nothrow_t,
                                                               Timeout timeout = forever) const noexcept {
    using Pair = std::pair<std::string, Value>;
    peernet_items *raw = nullptr;
    Status status(peernet_table_popitem(handle(), timeout.milliseconds(), &raw));
    if (status.error() == Errc::end) return std::optional<Pair>();
    if (!status) return status;
    const Items items(raw);
    return std::optional<Pair>(Pair(items[0].key(), items[0].value()));
  }

 private:
  template <class T>
  Result<Report> change(peernet_status (*call)(peernet_table, const void *, std::size_t, const std::uint8_t *,
                                               std::size_t, std::int32_t, peernet_report *),
                        bytes_view key, const T &value, Timeout timeout) const {
    Payload payload;
    Status status = payload.put(value);
    if (!status) return status;
    const bytes_view bytes = payload.bytes();
    return detail::sent([&](peernet_report *report) {
      return call(handle(), key.data(), key.size(), bytes.data(), bytes.size(), timeout.milliseconds(), report);
    });
  }
};

/// The peer book in the data directory of a node that is not running, which can be opened once this is closed.
class PeerBook {
 public:
  /// Opens that of the node of a mesh that these options describe: data_dir, and the subnet and encryption.
  explicit PeerBook(const Options &options) : PeerBook(open(std::nothrow, options).value()) {}
  static Result<PeerBook> open(std::nothrow_t, const Options &options) noexcept {
    return opened(peernet_mesh_book, options);
  }
  /// Opens that of the node of a table; whether it has leases also says which it is.
  static PeerBook of_table(const Options &options) { return of_table(std::nothrow, options).value(); }
  static Result<PeerBook> of_table(std::nothrow_t, const Options &options) noexcept {
    return opened(peernet_table_book, options);
  }

  /// As those of Mesh; what is changed is on the disk when they return.
  void save(const Text &address) const { save(std::nothrow, address).raise(); }
  Status save(std::nothrow_t, const Text &address) const noexcept {
    return Status(peernet_book_save(handle_.get(), address.c_str()));
  }
  void remove(const Text &address) const { remove(std::nothrow, address).raise(); }
  Status remove(std::nothrow_t, const Text &address) const noexcept {
    return Status(peernet_book_remove(handle_.get(), address.c_str()));
  }
  std::vector<PeerStats> known() const { return known(std::nothrow).value(); }
  Result<std::vector<PeerStats>> known(std::nothrow_t) const noexcept {
    return detail::values<std::vector<PeerStats>>(
        [&](peernet_writer *out) { return peernet_book_known(handle_.get(), out); });
  }
  std::optional<PeerStats> peer_stats(const Text &address) const { return peer_stats(std::nothrow, address).value(); }
  Result<std::optional<PeerStats>> peer_stats(std::nothrow_t, const Text &address) const noexcept {
    return detail::value_or_none<PeerStats>(
        [&](peernet_writer *out) { return peernet_book_peer_stats(handle_.get(), address.c_str(), out); });
  }
  /// Closes it.
  void close() const { close(std::nothrow).raise(); }
  Status close(std::nothrow_t) const noexcept { return Status(peernet_book_close(handle_.get())); }

 private:
  explicit PeerBook(peernet_book handle) noexcept : handle_(handle) {}
  static Result<PeerBook> opened(peernet_status (*open)(const peernet_options *, peernet_book *),
                                 const Options &options) {
    peernet_book handle = 0;
    Status status(options.with_raw([&](const peernet_options &raw) { return open(&raw, &handle); }));
    if (!status) return status;
    return PeerBook(handle);
  }

  detail::Handle<detail::close_book> handle_;
};

// ---------------------------------------------------------------------------------------------------------------
// Without a node

/// A message as it is to be on the wire; see Frames::encode.
struct WireMessage {
  /// 0 a broadcast, 1 about the link, 2 a whisper.
  std::uint64_t type = 0;
  /// By the author's clock: seconds since 1970 UTC, in tls subnets microseconds.
  std::int64_t time = 0;
  /// The author's id.
  std::string sender;
  /// Whether that is written as bytes, as py2p does, or as text.
  bool sender_as_bytes = false;
  /// The values, of which the first is the code.
  Payload payload;
};

/// A message that was on the wire.
class Decoded {
 public:
  std::uint64_t type() const noexcept { return raw_.type; }
  std::int64_t time() const noexcept { return raw_.time; }
  std::string_view sender() const noexcept { return bytes_view(raw_.sender, raw_.sender_len).text(); }
  bool sender_as_bytes() const noexcept { return raw_.sender_form == PEERNET_FORM_BYTES; }
  /// Whether it carries its author's seal.
  bool sealed() const noexcept { return raw_.sealed != 0; }
  Reader payload() const noexcept { return Reader(bytes_view(raw_.payload, raw_.payload_len)); }
  bytes_view id() const noexcept { return {raw_.id, sizeof raw_.id}; }

 private:
  friend class Frames;
  Payload body_;
  peernet_message raw_ = PEERNET_MESSAGE_INIT;
};

/// How messages become frames and frames messages. Needs no node, opens no socket.
///
///     std::vector<std::uint8_t> frame = peernet::Frames().encode({0, now, id, false, peernet::pack(0, "hello")});
class Frames {
 public:
  /// Codes of the compression methods that both sides have (16 bz2, 17 gzip, 18 lzma, 19 zlib, 32 snappy), in order:
  /// the first is used for writing, all are tried for reading.
  Frames &compression(std::vector<std::uint8_t> codes) { return compression_ = std::move(codes), *this; }
  /// The largest frame, in bytes (16 MiB). A compressed one may not unpack to more.
  Frames &max_frame(std::size_t bytes) noexcept { return max_frame_ = bytes, *this; }
  /// For writing: the secret Ed25519 key that seals messages.
  Frames &secret_key(const std::array<std::uint8_t, 32> &key) { return secret_key_ = key, *this; }
  /// For reading: the protocol id of a subnet whose authors sign.
  Frames &sealed_protocol(std::string id) { return sealed_protocol_ = std::move(id), *this; }

  /// The frame of a message, length field first.
  std::vector<std::uint8_t> encode(const WireMessage &message) const { return encode(std::nothrow, message).value(); }
  Result<std::vector<std::uint8_t>> encode(std::nothrow_t, const WireMessage &message) const noexcept {
    const peernet_message raw = raw_message(message);
    Payload frame;
    const peernet_codec codec = raw_codec();
    Status status(peernet_encode(&raw, &codec, frame.raw()));
    if (!status) return status;
    return std::vector<std::uint8_t>(frame.bytes().begin(), frame.bytes().end());
  }

  /// The id that a message has, on every node and in every frame.
  static std::array<std::uint8_t, 32> id(const WireMessage &message) { return id(std::nothrow, message).value(); }
  static Result<std::array<std::uint8_t, 32>> id(std::nothrow_t, const WireMessage &message) noexcept {
    const peernet_message raw = raw_message(message);
    std::array<std::uint8_t, 32> found{};
    Status status(peernet_message_id(&raw, found.data()));
    if (!status) return status;
    return found;
  }

  /// The message in a frame.
  Decoded decode(bytes_view frame) const { return decode(std::nothrow, frame).value(); }
  Result<Decoded> decode(std::nothrow_t, bytes_view frame) const noexcept { return read(frame, nullptr); }

  /// The message in the first frame of what has come so far; nothing if that is not whole yet. `stream` is what follows
  /// the frame then.
  std::optional<Decoded> next(bytes_view &stream) const { return next(std::nothrow, stream).value(); }
  Result<std::optional<Decoded>> next(std::nothrow_t, bytes_view &stream) const noexcept {
    std::size_t used = 0;
    Result<Decoded> found = read(stream, &used);
    if (found.error() == Errc::end) return std::optional<Decoded>();
    if (!found) return std::move(found).status();
    stream = {stream.data() + used, stream.size() - used};
    return std::optional<Decoded>(std::move(*found));
  }

 private:
  static peernet_message raw_message(const WireMessage &message) noexcept {
    const bytes_view sender = message.sender, payload = message.payload.bytes();
    peernet_message raw = PEERNET_MESSAGE_INIT;
    raw.type = message.type;
    raw.time = message.time;
    raw.sender = sender.data();
    raw.sender_len = sender.size();
    raw.sender_form = message.sender_as_bytes ? PEERNET_FORM_BYTES : PEERNET_FORM_TEXT;
    raw.payload = payload.data();
    raw.payload_len = payload.size();
    return raw;
  }

  Result<Decoded> read(bytes_view frame, std::size_t *used) const {
    Decoded found;
    const peernet_codec codec = raw_codec();
    Status status(peernet_decode(frame.data(), frame.size(), &codec, found.body_.raw(), &found.raw_, used));
    if (!status) return status;
    return found;
  }

  peernet_codec raw_codec() const noexcept {
    peernet_codec codec = PEERNET_CODEC_INIT;
    codec.compression = compression_.data();
    codec.compression_len = compression_.size();
    codec.max_frame = max_frame_;
    codec.secret_key = secret_key_ ? secret_key_->data() : nullptr;
    codec.sealed_protocol = sealed_protocol_ ? Text(*sealed_protocol_).c_str() : nullptr;
    return codec;
  }

  std::vector<std::uint8_t> compression_;
  std::size_t max_frame_ = 0;
  std::optional<std::array<std::uint8_t, 32>> secret_key_;
  std::optional<std::string> sealed_protocol_;
};

/// The protocol id of a subnet and an encryption, both exactly as they are hashed.
inline Result<std::string> protocol_id(std::nothrow_t, const Text &subnet, const Text &encryption) noexcept {
  return detail::text(
      [&](char *id, std::size_t size) { return peernet_protocol_id(subnet.c_str(), encryption.c_str(), id, size); });
}
inline std::string protocol_id(const Text &subnet, const Text &encryption) {
  return protocol_id(std::nothrow, subnet, encryption).value();
}

/// The id of a node at `host` and `port`, by 0.7's rule: `salt` is what tells nodes of one address apart.
inline Result<std::string> node_id(std::nothrow_t, const Text &host, std::uint16_t port, const Text &protocol,
                                   const Text &salt) noexcept {
  return detail::text([&](char *id, std::size_t size) {
    return peernet_node_id(host.c_str(), port, protocol.c_str(), salt.c_str(), id, size);
  });
}
inline std::string node_id(const Text &host, std::uint16_t port, const Text &protocol, const Text &salt) {
  return node_id(std::nothrow, host, port, protocol, salt).value();
}

/// The id of the node that has a public Ed25519 key in a tls subnet.
inline Result<std::string> key_id(std::nothrow_t, const std::array<std::uint8_t, 32> &public_key,
                                  const Text &protocol) noexcept {
  return detail::text(
      [&](char *id, std::size_t size) { return peernet_key_id(public_key.data(), protocol.c_str(), id, size); });
}
inline std::string key_id(const std::array<std::uint8_t, 32> &public_key, const Text &protocol) {
  return key_id(std::nothrow, public_key, protocol).value();
}

/// Whether a text is the id of a node.
inline bool is_id(const Text &id) noexcept { return peernet_id_check(id.c_str()) == PEERNET_OK; }

/// The integer in these bytes, the greatest first, in base58. For up to 1024 bytes.
inline Result<std::string> base58_encode(std::nothrow_t, bytes_view bytes) noexcept {
  std::string text(2 * bytes.size() + 2, '\0');
  Status status(peernet_base58_encode(bytes.data(), bytes.size(), text.data(), text.size()));
  if (!status) return status;
  text.resize(text.find('\0'));
  return text;
}
inline std::string base58_encode(bytes_view bytes) { return base58_encode(std::nothrow, bytes).value(); }

/// The bytes of an integer in base58, without zeros before it.
inline Result<std::vector<std::uint8_t>> base58_decode(std::nothrow_t, const Text &text) noexcept {
  std::vector<std::uint8_t> bytes(1024);
  std::size_t size = 0;
  Status status(peernet_base58_decode(text.c_str(), bytes.data(), bytes.size(), &size));
  if (!status) return status;
  bytes.resize(size);
  return bytes;
}
inline std::vector<std::uint8_t> base58_decode(const Text &text) { return base58_decode(std::nothrow, text).value(); }

/// New keys for a node, for Options::identity. Whoever has them is that node: keep them to yourself.
inline Result<std::string> new_identity(std::nothrow_t) noexcept { return detail::text(peernet_identity_new); }
inline std::string new_identity() { return new_identity(std::nothrow).value(); }

/// The public key of an identity.
inline Result<std::array<std::uint8_t, 32>> identity_key(std::nothrow_t, const Text &identity) noexcept {
  std::array<std::uint8_t, 32> key{};
  Status status(peernet_identity_key(identity.c_str(), key.data()));
  if (!status) return status;
  return key;
}
inline std::array<std::uint8_t, 32> identity_key(const Text &identity) {
  return identity_key(std::nothrow, identity).value();
}

/// The id that the node with an identity has in a tls subnet.
inline Result<std::string> identity_id(std::nothrow_t, const Text &identity, const Text &protocol) noexcept {
  return detail::text(
      [&](char *id, std::size_t size) { return peernet_identity_id(identity.c_str(), protocol.c_str(), id, size); });
}
inline std::string identity_id(const Text &identity, const Text &protocol) {
  return identity_id(std::nothrow, identity, protocol).value();
}

/// A new secret for a subnet, for Options::secret. Keep it from everyone else.
inline Result<std::string> new_secret(std::nothrow_t) noexcept { return detail::text(peernet_secret_new); }
inline std::string new_secret() { return new_secret(std::nothrow).value(); }

/// The secret that these bytes are, 16 to 64 random ones, never a password.
inline Result<std::string> secret_of(std::nothrow_t, bytes_view bytes) noexcept {
  return detail::text([&](char *secret, std::size_t size) {
    return peernet_secret_of_bytes(bytes.data(), bytes.size(), secret, size);
  });
}
inline std::string secret_of(bytes_view bytes) { return secret_of(std::nothrow, bytes).value(); }

/// Writes a text, such as an identity or a secret, to a new file that only its owner can read.
inline Status write_private(std::nothrow_t, const Text &path, const Text &text) noexcept {
  return Status(peernet_write_private(path.c_str(), text.c_str()));
}
inline void write_private(const Text &path, const Text &text) { write_private(std::nothrow, path, text).raise(); }

/// The names of what Options::setting can set.
inline Result<std::vector<std::string>> settings(std::nothrow_t) noexcept {
  return detail::values<std::vector<std::string>>(peernet_settings);
}
inline std::vector<std::string> settings() { return settings(std::nothrow).value(); }

/// The library's version, as 1.2.3.
inline std::string_view version() noexcept { return peernet_version(); }
/// The version of the ABI that the library has; PEERNET_ABI_VERSION is that of the header.
inline std::uint32_t abi_version() noexcept { return peernet_abi_version(); }

}  // namespace peernet

#endif  // PEERNET_HPP
