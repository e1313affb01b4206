// A chat in a mesh: chat [HOST:PORT], with the address of any node of it. Other terminals join the address it tells.
#include <iostream>
#include <peernet.hpp>

int main(int argc, char **argv) try {
  peernet::Mesh mesh;
  if (argc > 1) mesh.connect(argv[1], std::chrono::seconds(10));
  std::cout << "at " << mesh.address() << std::endl;
  std::thread hearing([&] {
    for (const peernet::Event &event : mesh)
      if (auto text = event.payload().read<std::string_view>(std::nothrow); text && event.is_message())
        std::cout << event.peer().substr(0, 8) << ": " << *text << std::endl;
  });
  for (std::string line; std::getline(std::cin, line);)
    if (auto sent = mesh.broadcast(std::nothrow, line); !sent) std::cerr << "chat: " << sent.message() << '\n';
  mesh.close();  // which ends the loop
  hearing.join();
} catch (const std::exception &error) {
  std::cerr << "chat: " << error.what() << '\n';
  return 1;
}
