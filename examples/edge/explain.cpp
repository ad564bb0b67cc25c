// Runs an exported file with ONNX Runtime's C++ API: explain FILE.onnx IMAGE.ppm OUT.npy [CLASS]
//
// FILE was written with --with-preprocess, so that it takes the picture as it is. IMAGE is a binary
// PPM, as Pillow's save("scene.ppm") and ImageMagick write it. OUT is the map, float32 [h,w], as
// numpy.load reads it. CLASS is a number, the top class if left out; the file's metadata
// has the classes' names as JSON.

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> bytes;  // [height,width,3]
};

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto number = [&file] {  // the next number of the header, past comments
    int64_t value = 0;
    while ((file >> std::ws).peek() == '#')
      file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    file >> value;
    return value;
  };
  std::string magic(2, '\0');
  file.read(magic.data(), 2);
  Picture picture;
  picture.width = number();
  picture.height = number();
  const int64_t white = number();
  file.get();  // the one space between header and bytes
  if (!file || magic != "P6" || white != 255 || picture.width < 1 || picture.height < 1)
    throw std::runtime_error(
        path + " is no binary PPM of 8 bits; Pillow's save(\"scene.ppm\") writes one");
  const size_t wanted =
      3 * static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height);
  for (char byte; picture.bytes.size() < wanted && file.get(byte);)
    picture.bytes.push_back(static_cast<uint8_t>(byte));
  if (picture.bytes.size() < wanted) throw std::runtime_error(path + " ends before its last pixel");
  return picture;
}

void write_npy(const std::string& path, const float* values, int64_t height, int64_t width) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(height) + ", " + std::to_string(width) + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ')
      .push_back('\n');  // 10 bytes stand before it; 64 in all, or 128
  const auto length = static_cast<uint16_t>(header.size());
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8)
      .put(static_cast<char>(length & 255))
      .put(static_cast<char>(length >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(values),
             static_cast<std::streamsize>(height * width * sizeof(float)));
  if (!file.flush()) throw std::runtime_error(path + " could not be written");
}

int64_t class_of(const std::string& text, int64_t classes) {
  size_t end = 0;
  long long value = -2;
  try {
    value = std::stoll(text, &end);
  } catch (const std::logic_error&) {  // no number, or too large a one
  }
  if (end != text.size() || value < -1 || (classes > 0 && value >= classes))
    throw std::runtime_error("class " + text + " is not from -1, the top one, to " +
                             std::to_string(classes - 1));
  return value;
}

int explain(const std::string& model, const std::string& image, const std::string& out,
            const std::string& wanted) {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "camport");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, std::filesystem::path(model).c_str(),
                       options);  // wide characters on Windows
  Ort::AllocatorWithDefaultOptions allocator;
  const auto labels =
      session.GetModelMetadata().LookupCustomMetadataMapAllocated("camport.labels", allocator);
  if (labels) std::cout << "classes: " << labels.get() << "\n";
  // held by a name, since the shape is read out of it; classes is -1 where the file takes any
  // number
  const Ort::TypeInfo outputs_type = session.GetOutputTypeInfo(0);
  const int64_t classes = outputs_type.GetTensorTypeAndShapeInfo().GetShape().back();

  Picture picture = read_ppm(image);
  int64_t target = class_of(wanted, classes);
  const std::array<int64_t, 4> pixels_shape{1, picture.height, picture.width, 3};
  const std::array<int64_t, 1> target_shape{1};
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  // these values do not own what they show: picture and target outlive them
  std::array<Ort::Value, 2> feeds{
      Ort::Value::CreateTensor<uint8_t>(memory, picture.bytes.data(), picture.bytes.size(),
                                        pixels_shape.data(), 4),
      Ort::Value::CreateTensor<int64_t>(memory, &target, 1, target_shape.data(), 1)};
  const std::array<const char*, 2> inputs{"images", "target"};
  const std::array<const char*, 3> names{"outputs", "score", "heatmap"};
  const auto results =
      session.Run(Ort::RunOptions{}, inputs.data(), feeds.data(), 2, names.data(), 3);

  const float* values = results[0].GetTensorData<float>();
  const int64_t count =
      static_cast<int64_t>(results[0].GetTensorTypeAndShapeInfo().GetElementCount());
  int64_t top = 0;
  for (int64_t i = 1; i < count; ++i) top = values[i] > values[top] ? i : top;
  const std::vector<int64_t> shape = results[2].GetTensorTypeAndShapeInfo().GetShape();  // [1,h,w]
  write_npy(out, results[2].GetTensorData<float>(), shape[1], shape[2]);
  std::cout << image << ": top class " << top << ", score of class " << (target < 0 ? top : target)
            << " " << *results[1].GetTensorData<float>() << "\nwrote " << out << "\n";
  return 0;
}

}  // namespace

int main(int count, char** given) {
  if (count != 4 && count != 5) {
    std::cerr << "give FILE.onnx IMAGE.ppm OUT.npy, and a class if it is not to be the top one\n";
    return 2;
  }
  try {
    return explain(given[1], given[2], given[3], count == 5 ? given[4] : "-1");
  } catch (const std::exception& error) {  // Ort::Exception is one
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
