// Plays requests and images to the core, pausing now and then, and compares all answers with files.
// Written by xnorcore export-verilog.
`timescale 1ns / 1ps

module testbench;
  // Bytes of each file, and clock cycles after which it has hung.
  localparam integer REQUESTS = @requests@;
  localparam integer RESPONSES = @responses@;
  localparam integer IMAGES = @images@;
  localparam integer SCORES = @scores@;
  localparam integer LIMIT = @limit@;

  // {tlast, tdata}; each file has a word more than that.
  reg [8:0] requests [0:REQUESTS];
  reg [8:0] responses [0:RESPONSES];
  reg [8:0] images [0:IMAGES];
  reg [8:0] scores [0:SCORES];

  reg aclk = 0;
  reg aresetn = 0;
  reg [7:0] images_tdata = 0, requests_tdata = 0;
  reg images_tvalid = 0, images_tlast = 0, requests_tvalid = 0, requests_tlast = 0;
  reg scores_tready = 0, responses_tready = 0;
  wire images_tready, requests_tready;
  wire [7:0] scores_tdata, responses_tdata, status;
  wire scores_tvalid, scores_tlast, scores_tuser, responses_tvalid, responses_tlast;

  xnorcore core (
      .aclk(aclk),
      .aresetn(aresetn),
      .s_axis_images_tdata(images_tdata),
      .s_axis_images_tvalid(images_tvalid),
      .s_axis_images_tready(images_tready),
      .s_axis_images_tlast(images_tlast),
      .m_axis_scores_tdata(scores_tdata),
      .m_axis_scores_tvalid(scores_tvalid),
      .m_axis_scores_tready(scores_tready),
      .m_axis_scores_tlast(scores_tlast),
      .m_axis_scores_tuser(scores_tuser),
      .s_axis_requests_tdata(requests_tdata),
      .s_axis_requests_tvalid(requests_tvalid),
      .s_axis_requests_tready(requests_tready),
      .s_axis_requests_tlast(requests_tlast),
      .m_axis_responses_tdata(responses_tdata),
      .m_axis_responses_tvalid(responses_tvalid),
      .m_axis_responses_tready(responses_tready),
      .m_axis_responses_tlast(responses_tlast),
      .status(status)
  );

  always #5 aclk = ~aclk;

  integer cycle = 0, request = 0, response = 0, image = 0, score = 0, packets = 0, rest = 0;
  reg [31:0] noise = 1;

  initial begin
    $readmemh("requests.hex", requests);
    $readmemh("responses.hex", responses);
    $readmemh("images.hex", images);
    $readmemh("scores.hex", scores);
  end

  always @(posedge aclk) begin
    cycle <= cycle + 1;
    noise <= {noise[30:0], noise[31] ^ noise[21] ^ noise[1] ^ noise[0]};
    aresetn <= cycle > 3;

    // Sources: what is offered stays until it is taken.
    if (requests_tready || !requests_tvalid) begin
      requests_tvalid <= aresetn && request < REQUESTS && noise[0];
      {requests_tlast, requests_tdata} <= requests[request];
      if (aresetn && request < REQUESTS && noise[0]) request <= request + 1;
    end
    // Images come when the network is there.
    if (images_tready || !images_tvalid) begin
      images_tvalid <= aresetn && response == RESPONSES && image < IMAGES && noise[2:1] != 0;
      {images_tlast, images_tdata} <= images[image];
      if (aresetn && response == RESPONSES && image < IMAGES && noise[2:1] != 0) image <= image + 1;
    end

    // Sinks.
    responses_tready <= noise[3];
    scores_tready <= noise[5:4] != 0;
    if (responses_tvalid && responses_tready) begin
      if (response == RESPONSES || {responses_tlast, responses_tdata} != responses[response])
        $fatal(1, "FAIL: byte %0d of the responses is %02x", response, responses_tdata);
      response <= response + 1;
    end
    if (scores_tvalid && scores_tready) begin
      if (score == SCORES || {scores_tlast, scores_tdata} != scores[score] || (scores_tlast && scores_tuser))
        $fatal(1, "FAIL: byte %0d of the scores is %02x, last %b", score, scores_tdata, scores_tlast);
      score <= score + 1;
      if (scores_tlast) packets <= packets + 1;
    end

    // Nothing more may come.
    rest <= response == RESPONSES && score == SCORES ? rest + 1 : 0;
    if (rest == 500) begin
      $display("PASS: the scores of %0d images are those of the reference", packets);
      $finish;
    end
    if (cycle == LIMIT)
      $fatal(1, "FAIL: after %0d cycles %0d of %0d score bytes; status %0d", LIMIT, score, SCORES, status);
  end
endmodule
