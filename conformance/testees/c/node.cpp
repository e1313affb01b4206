// As node.c, in C++: a node that a program drives as it does `peernet node --json`, of <peernet.hpp> alone.
//
//     cc -c forms.c json.c
//     c++ -std=c++17 node.cpp forms.o json.o $(pkg-config --cflags --libs peernet) -pthread -o nodepp

#include <peernet.hpp>

#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <stdexcept>

#include "forms.h"
#include "json.h"

namespace {

// Messages that can be answered by their id.
constexpr std::size_t answerable = 1024;

// A line of JSON, written at once: commands are answered and events told by a thread each.
class Line {
 public:
  Line &raw(const char *text) { return json_put(&out_, text), *this; }
  Line &text(std::string_view text) { return json_put_text(&out_, text.data(), text.size()), *this; }
  Line &hex(peernet::bytes_view bytes) { return json_put_hex(&out_, bytes.data(), bytes.size()), *this; }
  Line &number(std::uint64_t number) { return json_put_uint(&out_, number), *this; }
  Line &json(const ::json *value) { return json_put_json(&out_, value), *this; }
  Line &values(peernet::bytes_view packed) {
    if (forms_write_all(packed.data(), packed.size(), &out_)) throw std::runtime_error("values without a form");
    return *this;
  }
  // An address or id, null if there is none.
  Line &maybe(std::string_view text) { return text.empty() ? raw("null") : this->text(text); }

  void end() {
    static std::mutex writing;
    raw("\n");
    std::lock_guard<std::mutex> lock(writing);
    std::cout.write(out_.data, static_cast<std::streamsize>(out_.len)).flush();
  }

  Line() = default;
  Line(const Line &) = delete;
  ~Line() { std::free(out_.data); }

 private:
  json_out out_{};
};

class Node {
 public:
  explicit Node(const peernet::Options &options) : mesh_(options) {
    Line line;
    line.raw("{\"event\":\"listening\",\"address\":").text(mesh_.address()).raw(",\"id\":").text(mesh_.id());
    line.raw(",\"protocol\":").text(mesh_.protocol()).raw("}").end();
  }

  // Tells what happens until the node is closed.
  void tell() {
    for (const peernet::Event &event : mesh_) tell(event);
  }

  // Does what one line says.
  void obey(std::string text) {
    std::unique_ptr<json_document, decltype(&json_free)> document(json_read(text.data(), text.size()), json_free);
    const json *command = document ? json_root(document.get()) : nullptr;
    Line line;
    try {
      line.raw("{\"event\":\"result\",\"value\":");
      run(command, line);
      finish(line, command);
    } catch (const peernet::Error &error) {
      fail(command, error.code().message(), error.what());
    } catch (const std::exception &error) {
      fail(command, "usage", error.what());
    }
  }

  void close() { mesh_.close(); }

 private:
  struct Heard {
    std::string id, author;
  };

  static void finish(Line &line, const json *command) {
    if (const json *reference = json_get(command, "ref")) line.raw(",\"ref\":").json(reference);
    line.raw("}").end();
  }

  static void fail(const json *command, std::string_view code, std::string_view why) {
    Line line;
    line.raw("{\"event\":\"error\",\"code\":").text(code).raw(",\"error\":").text(why);
    finish(line, command);
  }

  static std::string wanted(const json *command, const char *key) {
    const char *text = json_text(json_get(command, key));
    return text ? text : throw std::invalid_argument(std::string("a text is missing: ") + key);
  }

  static peernet::Payload payload(const json *command) {
    peernet::Payload payload;
    if (forms_read_all(json_get(command, "payload"), payload.raw()))
      throw std::invalid_argument("the payload is no array of values");
    return payload;
  }

  static void report(Line &line, const peernet::Report &report) {
    line.raw("{\"id\":").hex(report.id).raw(",\"links\":").number(report.links).raw("}");
  }

  void run(const json *command, Line &line) {
    const std::string name = wanted(command, "do");
    if (name == "connect") {
      line.raw("{\"peer\":").text(mesh_.connect(wanted(command, "address"))).raw("}");
    } else if (name == "disconnect") {
      mesh_.disconnect(wanted(command, "peer"));
      line.raw("null");
    } else if (name == "peers") {
      line.raw("[");
      bool first = true;
      for (const peernet::Peer &peer : mesh_.peers()) {
        line.raw(first ? "{\"id\":" : ",{\"id\":").text(peer.id).raw(",\"address\":");
        line.maybe(peer.address.value_or("")).raw("}");
        first = false;
      }
      line.raw("]");
    } else if (name == "broadcast") {
      report(line, mesh_.broadcast(payload(command)));
    } else if (name == "send") {
      report(line, mesh_.send(wanted(command, "peer"), payload(command)));
    } else if (name == "reply") {
      report(line, mesh_.send(author(wanted(command, "to")), payload(command)));
    } else {
      throw std::invalid_argument("there is no such command here: " + name);
    }
  }

  void tell(const peernet::Event &event) {
    Line line;
    switch (event.type()) {
      case peernet::EventType::message:
        remember(event);
        line.raw("{\"event\":\"message\",\"kind\":").text(event.is_whisper() ? "whisper" : "broadcast");
        line.raw(",\"id\":").hex(event.id()).raw(",\"sender\":").text(event.peer());
        line.raw(",\"time\":").number(static_cast<std::uint64_t>(event.raw().time));
        line.raw(",\"payload\":").values(event.data());
        break;
      case peernet::EventType::connected:
        line.raw("{\"event\":\"connected\",\"peer\":").text(event.peer()).raw(",\"address\":").maybe(event.address());
        break;
      case peernet::EventType::disconnected:
        line.raw("{\"event\":\"disconnected\",\"peer\":").text(event.peer()).raw(",\"reason\":").text(event.reason());
        break;
      case peernet::EventType::lagged: line.raw("{\"event\":\"lagged\",\"count\":").number(event.count()); break;
      default: return;
    }
    line.raw("}").end();
  }

  static std::string digits(peernet::bytes_view id) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (std::uint8_t byte : id) (text += digits[byte >> 4]) += digits[byte & 15];
    return text;
  }

  void remember(const peernet::Event &message) {
    std::lock_guard<std::mutex> lock(hearing_);
    recent_.push_back({digits(message.id()), std::string(message.peer())});
    if (recent_.size() > answerable) recent_.pop_front();
  }

  std::string author(const std::string &id) {
    std::lock_guard<std::mutex> lock(hearing_);
    for (const Heard &heard : recent_)
      if (heard.id == id) return heard.author;
    throw std::invalid_argument("it is none of the last messages");
  }

  peernet::Mesh mesh_;
  std::mutex hearing_;
  std::deque<Heard> recent_;
};

}  // namespace

int main(int count, char **args) try {
  peernet::Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string option = args[i], value = args[i + 1];
    if (option == "--listen") options.listen(value);
    else if (option == "--advertise") options.advertise(value);
    else if (option == "--encryption") options.encryption(value);
    else if (option == "--subnet") options.subnet(value);
    else return 2;
  }
  Node node(options);
  std::thread telling([&] { node.tell(); });
  for (std::string line; std::getline(std::cin, line);) node.obey(line);
  node.close();  // which ends the telling
  telling.join();
} catch (const std::exception &error) {
  std::cerr << "node: " << error.what() << '\n';
  return 1;
}
